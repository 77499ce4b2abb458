// Made by types.mjs from the server's contract; a test holds it to the server.
export interface paths {
    "/healthz": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["healthz"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/readyz": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["readyz"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/metrics": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["metrics"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/session": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["session"];
        put?: never;
        post: operations["login"];
        delete: operations["logout"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/tokens": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["tokens"];
        put?: never;
        post: operations["create_token"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/tokens/{name}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        delete: operations["revoke_token"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["list_workspaces"];
        put?: never;
        post: operations["create"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["info"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/runs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["runs"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/columns": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["columns"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/rows/{row}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["show"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/search": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post: operations["search"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/search/upload": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post: operations["search_upload"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/search/batch": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post: operations["search_batch"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/search/near-duplicates": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post: operations["near_duplicates"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/search/near-duplicates/upload": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post: operations["near_duplicates_upload"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/rows/query": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post: operations["query_rows"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/rows/facets": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post: operations["facets"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/rows/scope": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post: operations["scope"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/map": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["map_"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/columns/{name}/legend": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["legend"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/columns/{name}/codes": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["codes"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/rows/{row}/neighbors": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["neighbors"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/images/{row}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["image"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/images/pack": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post: operations["pack"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/duplicates": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["groups"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/duplicates/certificate": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["certificate"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/duplicates/counts": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["counts"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/tags": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["tags"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/tags/{tag}/rows": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post: operations["tag"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/tags/{tag}/rows/remove": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post: operations["untag"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/tags/{tag}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        delete: operations["delete_tag"];
        options?: never;
        head?: never;
        patch: operations["rename_tag"];
        trace?: never;
    };
    "/v1/workspaces/{ws}/collections": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["collections"];
        put?: never;
        post: operations["create_collection"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/collections/{name}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["collection"];
        put?: never;
        post?: never;
        delete: operations["delete_collection"];
        options?: never;
        head?: never;
        patch: operations["rename_collection"];
        trace?: never;
    };
    "/v1/workspaces/{ws}/collections/{name}/rows": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post: operations["collect"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/collections/{name}/rows/remove": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post: operations["uncollect"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/decisions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["decisions"];
        put?: never;
        post: operations["decide"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/decisions/{number}/undo": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post: operations["undo"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/decisions/{number}/redo": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post: operations["redo"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/state": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["export_state"];
        put?: never;
        post: operations["import_state"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/campaigns": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["campaigns"];
        put?: never;
        post: operations["create_campaign"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/campaigns/{name}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["campaign"];
        put?: never;
        post?: never;
        delete: operations["delete_campaign"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/campaigns/{name}/modes/{mode}/next": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["next_of_mode"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/campaigns/{name}/modes/{mode}/reviews": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post: operations["review"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/campaigns/{name}/export": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post: operations["export_campaign"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/triggers": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["triggers"];
        put?: never;
        post: operations["create_trigger"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/triggers/run": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post: operations["run_triggers"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/triggers/{name}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        delete: operations["delete_trigger"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/jobs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post: operations["start_job"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/jobs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["list_jobs"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/jobs/{job_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["job"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/jobs/{job_id}/log": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["job_log"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/jobs/{job_id}/events": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["job_events"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/jobs/{job_id}/cancel": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post: operations["cancel_job"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/jobs/{job_id}/resume": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post: operations["resume_job"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/jobs/{job_id}/file": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["job_file"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/uploads": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["list_uploads"];
        put?: never;
        post: operations["upload_images"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/uploads/{upload}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        delete: operations["delete_upload"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/selections": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["list_selections"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/selections/{name}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["selection"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/selections/{name}/file": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["selection_file"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/selections/{name}/coverage": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["coverage"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/rows/{row}/why": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["explain"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/splits": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["list_splits"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/report": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["report_page"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/report.json": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["report_numbers"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/calibration": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["calibration"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/calibration/pairs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["calibration_pairs"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/calibration/answers": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post: operations["answer_pairs"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/snapshots": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["list_snapshots"];
        put?: never;
        post: operations["save_snapshot"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/workspaces/{ws}/snapshots/{name}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        delete: operations["delete_snapshot"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/indices-list": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get: operations["indices_list"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/knn-service": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post: operations["knn_service"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/metadata": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post: operations["metadata"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        AnswersBody: {
            answers: components["schemas"]["PairJudged"][];
        };
        AnswersKept: {
            decisions: number[];
        } & {
            [key: string]: unknown;
        };
        BatchAnswer: {
            answers: components["schemas"]["SearchAnswer"][];
        } & {
            [key: string]: unknown;
        };
        BatchBody: {
            searches: components["schemas"]["SearchBody"][];
        };
        BatchOfMode: {
            campaign: string;
            mode: number;
            hits: components["schemas"]["MinedHit"][];
            ranking: {
                [key: string]: unknown;
            };
            precision: components["schemas"]["PrecisionAnswer"];
            pool: number;
            snapshot: number;
        } & {
            [key: string]: unknown;
        };
        Body_near_duplicates_upload: {
            file: string;
            threshold?: number | null;
            /** @default 10 */
            k: number;
            space?: string | null;
        };
        Body_search_upload: {
            files: string[];
            /** @default  */
            request: string;
        };
        CalibrateJob: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            kind: "calibrate";
            params?: components["schemas"]["CalibrateParams"];
        };
        CalibrateParams: {
            /** @default {} */
            settings: {
                [key: string]: string | number | boolean | unknown[] | {
                    [key: string]: unknown;
                } | null;
            };
            sample?: number | null;
            /** @default false */
            from_answers: boolean;
            name?: string | null;
        };
        CalibrationAnswer: {
            space: string;
            results: {
                [key: string]: unknown;
            }[];
            metric: {
                [key: string]: unknown;
            } | null;
            n_answers: number;
        } & {
            [key: string]: unknown;
        };
        CampaignAnswer: {
            name: string;
            version: number;
            n_failures: number;
            modes: components["schemas"]["ModeAnswer"][];
            budget: number;
            accepted: number;
            reviewed: number;
            has_tiles: boolean;
        } & {
            [key: string]: unknown;
        };
        CampaignBody: {
            rows: number[];
            name: string;
            pool?: {
                [key: string]: unknown;
            } | null;
            modes?: number | null;
            /** @default 200 */
            budget: number;
            /** @default 1 */
            spacing_s: number;
            how?: ("fused" | "mean" | "centred" | "max" | "probe") | null;
        } | {
            filter: {
                [key: string]: unknown;
            };
            name: string;
            pool?: {
                [key: string]: unknown;
            } | null;
            modes?: number | null;
            /** @default 200 */
            budget: number;
            /** @default 1 */
            spacing_s: number;
            how?: ("fused" | "mean" | "centred" | "max" | "probe") | null;
        } | {
            mistakes: components["schemas"]["MistakesBody"];
            name: string;
            pool?: {
                [key: string]: unknown;
            } | null;
            modes?: number | null;
            /** @default 200 */
            budget: number;
            /** @default 1 */
            spacing_s: number;
            how?: ("fused" | "mean" | "centred" | "max" | "probe") | null;
        } | {
            collection: string;
            name: string;
            pool?: {
                [key: string]: unknown;
            } | null;
            modes?: number | null;
            /** @default 200 */
            budget: number;
            /** @default 1 */
            spacing_s: number;
            how?: ("fused" | "mean" | "centred" | "max" | "probe") | null;
        };
        CampaignsAnswer: {
            campaigns: components["schemas"]["CampaignAnswer"][];
        } & {
            [key: string]: unknown;
        };
        CertificateAnswer: {
            threshold: number;
            threshold_origin: string;
            keep: string | null;
            /** @enum {string} */
            metric: "model" | "copies";
            certificate: {
                [key: string]: unknown;
            };
            histogram: {
                [key: string]: unknown;
            };
            snapshot: number;
        } & {
            [key: string]: unknown;
        };
        ClusterJob: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            kind: "cluster";
            params?: components["schemas"]["StageParams"];
        };
        CollectionAnswer: {
            name: string;
            rows: number[];
            total: number;
        } & {
            [key: string]: unknown;
        };
        CollectionBody: {
            name: string;
            /** @default [] */
            rows: number[];
        };
        CollectionsAnswer: {
            collections: components["schemas"]["CountedName"][];
        } & {
            [key: string]: unknown;
        };
        ColumnInfo: {
            name: string;
            type: string;
            origin: string;
        } & {
            [key: string]: unknown;
        };
        Columns: {
            columns: components["schemas"]["ColumnInfo"][];
        } & {
            [key: string]: unknown;
        };
        CompareJob: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            kind: "compare";
            params: components["schemas"]["CompareParams"];
        };
        CompareParams: {
            first: string;
            second: string;
        };
        CountedName: {
            name: string;
            count: number;
        } & {
            [key: string]: unknown;
        };
        DecisionAnswer: {
            id: number;
            uuid: string;
            at: number;
            who: string;
            kind: string;
            subject: string;
            rows: number[];
            n_rows: number;
            value: unknown;
            note: string;
            undone_at: number | null;
            undone_by: string | null;
        } & {
            [key: string]: unknown;
        };
        DecisionBody: {
            /** @constant */
            kind: "review";
            rows: number[];
            /** @enum {unknown} */
            value: "accept" | "discard" | "skip";
            /** @default  */
            subject: string;
            /** @default  */
            note: string;
            expect?: number | null;
        } | {
            /** @constant */
            kind: "pair";
            rows: number[];
            /** @enum {unknown} */
            value: "same" | "different" | "unsure";
            /** @default  */
            subject: string;
            /** @default  */
            note: string;
            expect?: number | null;
        } | {
            /** @constant */
            kind: "not_duplicate";
            rows: number[];
            value?: unknown;
            /** @default  */
            subject: string;
            /** @default  */
            note: string;
            expect?: number | null;
        } | {
            /** @constant */
            kind: "keep";
            rows: number[];
            value?: unknown;
            /** @default  */
            subject: string;
            /** @default  */
            note: string;
            expect?: number | null;
        } | {
            /** @constant */
            kind: "label";
            rows: number[];
            value?: unknown;
            /** @default  */
            subject: string;
            /** @default  */
            note: string;
            expect?: number | null;
        };
        DecisionsAnswer: {
            decisions: components["schemas"]["DecisionAnswer"][];
            before: number | null;
        } & {
            [key: string]: unknown;
        };
        DuplicatesAnswer: {
            /** @enum {string} */
            verdict: "already" | "similar" | "new";
            matches: components["schemas"]["MatchAnswer"][];
            threshold: number;
            similar_from: number;
            threshold_origin: string;
            /** @enum {string} */
            metric: "model" | "copies";
            nearest: number | null;
            space: string;
            index: string;
            recall: number;
            snapshot: number;
        } & {
            [key: string]: unknown;
        };
        DuplicatesBody: {
            example: components["schemas"]["PictureBody"];
            threshold?: number | null;
            /** @default 10 */
            k: number;
            space?: string | null;
            /** @default [] */
            fields: string[];
        };
        EmbedJob: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            kind: "embed";
            params?: components["schemas"]["EmbedParams"];
        };
        EmbedParams: {
            /** @default {} */
            settings: {
                [key: string]: string | number | boolean | unknown[] | {
                    [key: string]: unknown;
                } | null;
            };
            model?: string | null;
        };
        ErrorBody: {
            error: components["schemas"]["ErrorDetail"];
        } & {
            [key: string]: unknown;
        };
        ErrorDetail: {
            code: string;
            message: string;
            hint: string;
        } & {
            [key: string]: unknown;
        };
        ExampleBody: {
            row: number;
            box?: [
                number,
                number,
                number,
                number
            ] | null;
        } | {
            image: string;
            box?: [
                number,
                number,
                number,
                number
            ] | null;
        } | {
            url: string;
            box?: [
                number,
                number,
                number,
                number
            ] | null;
        } | {
            vector: number[];
        } | {
            text: string;
        } | {
            collection: string;
        };
        ExportBody: {
            selection: string;
        };
        ExportJob: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            kind: "export";
            params: components["schemas"]["ExportParams"];
        };
        ExportParams: {
            selection: string;
            /**
             * @default csv
             * @enum {string}
             */
            format: "paths" | "csv" | "parquet" | "coco-images";
            first?: number | null;
        };
        ExportedAnswer: {
            selection: string;
            count: number;
            campaign: string;
        } & {
            [key: string]: unknown;
        };
        FacetAnswer: {
            column: string;
            /** @enum {string} */
            kind: "values" | "histogram";
            missing: number;
            total: number;
        } & {
            [key: string]: unknown;
        };
        FacetsAnswer: {
            facets: components["schemas"]["FacetAnswer"][];
            total: number;
            snapshot: number;
        } & {
            [key: string]: unknown;
        };
        FacetsBody: {
            columns: string[];
            filter?: {
                [key: string]: unknown;
            } | null;
            /** @default false */
            ignore_own: boolean;
            /** @default 20 */
            top: number;
            /** @default 24 */
            bins: number;
            /** @default true */
            present_only: boolean;
        };
        Fault: {
            row: number;
            uri: string;
            reason: string;
            message: string | null;
        } & {
            [key: string]: unknown;
        };
        FileAnswer: {
            name: string;
            bytes: number;
            format: string;
            width: number;
            height: number;
        } & {
            [key: string]: unknown;
        };
        GroupAnswer: {
            kept: number;
            size: number;
            loosest: number;
            removed: components["schemas"]["Member"][];
            is_wished: boolean;
            chosen: number | null;
            not_duplicates: number[][];
            is_confirmed: boolean;
        } & {
            [key: string]: unknown;
        };
        GroupsAnswer: {
            groups: components["schemas"]["GroupAnswer"][];
            total: number;
            n_removed: number;
            n_confirmed: number;
            n_waiting: number;
            newest: number;
            offset: number;
            snapshot: number;
        } & {
            [key: string]: unknown;
        };
        Health: {
            /** @constant */
            status: "ok";
            version: string;
        } & {
            [key: string]: unknown;
        };
        HitAnswer: {
            row: number;
            similarity: number;
            distance: number;
            score: number;
            box?: [
                number,
                number,
                number,
                number
            ] | null;
        } & {
            [key: string]: unknown;
        };
        ImportAnswer: {
            decisions: number;
            documents: number;
            known: number;
        } & {
            [key: string]: unknown;
        };
        IndexJob: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            kind: "index";
            params?: components["schemas"]["StageParams"];
        };
        Info: {
            path: string;
            rows: number;
            snapshot: number;
            sources: string[];
            stages: {
                [key: string]: "current" | "stale" | "missing";
            };
            spaces: string[];
            tiles: string[];
            columns: string[];
            selections: {
                [key: string]: number;
            };
            n_unreadable: number;
            unreadable: components["schemas"]["Fault"][];
            runs: {
                [key: string]: unknown;
            }[];
        } & {
            [key: string]: unknown;
        };
        IngestJob: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            kind: "ingest";
            params?: components["schemas"]["IngestParams"];
        };
        IngestParams: {
            /** @default {} */
            settings: {
                [key: string]: string | number | boolean | unknown[] | {
                    [key: string]: unknown;
                } | null;
            };
            /** @default [] */
            sources: string[];
            upload?: string | null;
            fps?: number | null;
            every_nth?: number | null;
            keyframes?: boolean | null;
            metadata?: string | null;
            labels_from_folders?: boolean | null;
            splits_from_folders?: boolean | null;
        };
        IssuesJob: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            kind: "issues";
            params?: components["schemas"]["Params"];
        };
        JobBody: {
            id: string;
            workspace: string;
            kind: string;
            params: {
                [key: string]: unknown;
            };
            who: string;
            /** @enum {string} */
            state: "queued" | "running" | "done" | "failed" | "cancelled" | "interrupted";
            created: number;
            started: number | null;
            finished: number | null;
            progress: components["schemas"]["JobProgress"] | null;
            error: components["schemas"]["ErrorDetail"] | null;
            resumes: string | null;
            cancel: boolean;
            revision: number;
            result: unknown;
        } & {
            [key: string]: unknown;
        };
        JobEntry: {
            id: string;
            workspace: string;
            kind: string;
            params: {
                [key: string]: unknown;
            };
            who: string;
            /** @enum {string} */
            state: "queued" | "running" | "done" | "failed" | "cancelled" | "interrupted";
            created: number;
            started: number | null;
            finished: number | null;
            progress: components["schemas"]["JobProgress"] | null;
            error: components["schemas"]["ErrorDetail"] | null;
            resumes: string | null;
            cancel: boolean;
            revision: number;
        } & {
            [key: string]: unknown;
        };
        JobLog: {
            log: string;
        } & {
            [key: string]: unknown;
        };
        JobProgress: {
            stage: string;
            done: number;
            total: number | null;
        } & {
            [key: string]: unknown;
        };
        Jobs: {
            jobs: components["schemas"]["JobEntry"][];
            counts: {
                [key: string]: number;
            };
        } & {
            [key: string]: unknown;
        };
        KnnBody: {
            text?: string | null;
            image?: string | null;
            image_url?: string | null;
            embedding_input?: number[] | null;
            /**
             * @default image
             * @constant
             */
            modality: "image";
            /** @default 100 */
            num_images: number;
            num_result_ids?: number | null;
            indice_name: string;
            /** @default false */
            deduplicate: boolean;
        };
        KnnResult: {
            id: number;
            similarity: number;
            /** @default  */
            image_path: string;
            /** @default  */
            url: string;
            /** @default  */
            caption: string;
        } & {
            [key: string]: unknown;
        };
        LeaksJob: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            kind: "leaks";
            params?: components["schemas"]["LeaksParams"];
        };
        LeaksParams: {
            other?: string | null;
            /** @default split */
            split_column: string;
            threshold?: number | null;
            /** @default 4 */
            bits: number;
        };
        LegendAnswer: {
            column: string;
            /** @enum {string} */
            kind: "category" | "number";
            /** @enum {string} */
            dtype: "uint8" | "uint16" | "float32";
            values: unknown[];
            counts: number[];
            low: number | null;
            high: number | null;
            snapshot: number;
        } & {
            [key: string]: unknown;
        };
        Login: {
            token: string;
        };
        MadeToken: {
            id: string;
            name: string;
            /** @enum {string} */
            role: "reader" | "reviewer" | "admin";
            created: number;
            expires: number | null;
            revoked: number | null;
            used: number | null;
            is_alive: boolean;
            secret: string;
        } & {
            [key: string]: unknown;
        };
        MapJob: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            kind: "map";
            params?: components["schemas"]["StageParams"];
        };
        MatchAnswer: {
            row: number;
            /** @enum {string} */
            match: "exact" | "near" | "similar";
            similarity: number;
            distance: number;
            representative: number | null;
        } & {
            [key: string]: unknown;
        };
        Member: {
            row: number;
            similarity: number;
            /** @enum {string} */
            kind: "exact" | "near";
        } & {
            [key: string]: unknown;
        };
        MetadataBody: {
            ids: number[];
            indice_name: string;
        };
        MetadataResult: {
            id: number;
            metadata: {
                [key: string]: unknown;
            };
        } & {
            [key: string]: unknown;
        };
        MinedHit: {
            row: number;
            uri: string;
            score: number;
            similarity: number;
            nearest: number;
        } & {
            [key: string]: unknown;
        };
        MistakesBody: {
            label: string;
            prediction: string;
        };
        ModeAnswer: {
            id: number;
            size: number;
            medoid: number;
            rows: number[];
            cohesion: number;
            typical: {
                [key: string]: unknown;
            }[];
            precision: components["schemas"]["PrecisionAnswer"];
            share: number;
            left: number;
        } & {
            [key: string]: unknown;
        };
        NearDupsParams: {
            /** @default {} */
            settings: {
                [key: string]: string | number | boolean | unknown[] | {
                    [key: string]: unknown;
                } | null;
            };
            /** @default false */
            fresh: boolean;
            threshold?: number | string | null;
            keep?: string | null;
            method?: ("auto" | "exact" | "approximate") | null;
            space?: ("model" | "copies") | null;
            per_group?: string | null;
            window_s?: number | null;
        };
        NeardupsJob: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            kind: "neardups";
            params?: components["schemas"]["NearDupsParams"];
        };
        NewToken: {
            name: string;
            /** @enum {string} */
            role: "reader" | "reviewer" | "admin";
            /** @default 90 */
            days: number | null;
        };
        NewWorkspace: {
            name: string;
        };
        PackBody: {
            rows: number[];
        };
        PairJudged: {
            row_a: number;
            row_b: number;
            /** @enum {string} */
            answer: "same" | "different" | "unsure";
        };
        PairQuestion: {
            row_a: number;
            row_b: number;
            uri_a: string;
            uri_b: string;
            similarity: number;
        } & {
            [key: string]: unknown;
        };
        PairsAnswer: {
            pairs: components["schemas"]["PairQuestion"][];
            n_left: number;
        } & {
            [key: string]: unknown;
        };
        Params: {
            /** @default {} */
            settings: {
                [key: string]: string | number | boolean | unknown[] | {
                    [key: string]: unknown;
                } | null;
            };
        };
        Pick: {
            rank: number;
            row: number;
            uri: string;
            gain: number;
            reason: string;
            groups?: (string | null)[] | null;
        } & {
            [key: string]: unknown;
        };
        PictureBody: {
            row: number;
            box?: [
                number,
                number,
                number,
                number
            ] | null;
        } | {
            image: string;
            box?: [
                number,
                number,
                number,
                number
            ] | null;
        } | {
            url: string;
            box?: [
                number,
                number,
                number,
                number
            ] | null;
        };
        PrecisionAnswer: {
            accepted: number;
            discarded: number;
            skipped: number;
            share: number | null;
            low: number | null;
            high: number | null;
        } & {
            [key: string]: unknown;
        };
        Readiness: {
            /** @constant */
            status: "ready";
            workspaces: number;
        } & {
            [key: string]: unknown;
        };
        Record: {
            row: number;
            uri: string;
            selections: {
                [key: string]: unknown;
            }[];
        } & {
            [key: string]: unknown;
        };
        RenameBody: {
            name: string;
        };
        ReportJob: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            kind: "report";
            params?: components["schemas"]["Params"];
        };
        ReviewBody: {
            rows: number[];
            /** @enum {string} */
            verdict: "accept" | "discard" | "skip";
            /** @default  */
            note: string;
            expect?: number | null;
        };
        RowAnswer: {
            row: number;
        } & {
            [key: string]: unknown;
        };
        RowsAnswer: {
            rows: components["schemas"]["RowAnswer"][];
            total: number;
            offset: number;
            next_offset: number | null;
            snapshot: number;
        } & {
            [key: string]: unknown;
        };
        RowsBody: {
            filter?: {
                [key: string]: unknown;
            } | null;
            /** @default [] */
            sort: components["schemas"]["SortBody"][];
            /** @default 0 */
            offset: number;
            /** @default 100 */
            limit: number;
            /** @default [] */
            fields: string[];
            /** @default true */
            present_only: boolean;
        };
        RowsOrFilter: {
            rows: number[];
        } | {
            filter: {
                [key: string]: unknown;
            };
        };
        RunEntry: {
            stage: string;
            seconds: number;
            finished: number;
            /** @default {} */
            counts: {
                [key: string]: unknown;
            };
        } & {
            [key: string]: unknown;
        };
        RunJob: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            kind: "run";
            params?: components["schemas"]["RunParams"];
        };
        RunParams: {
            /** @default {} */
            settings: {
                [key: string]: string | number | boolean | unknown[] | {
                    [key: string]: unknown;
                } | null;
            };
            /** @default [] */
            sources: string[];
            upload?: string | null;
            fps?: number | null;
            every_nth?: number | null;
            keyframes?: boolean | null;
            metadata?: string | null;
            labels_from_folders?: boolean | null;
            splits_from_folders?: boolean | null;
            budget?: (number | string) | null;
            model?: string | null;
            /** @default false */
            fresh: boolean;
        };
        Runs: {
            runs: components["schemas"]["RunEntry"][];
        } & {
            [key: string]: unknown;
        };
        ScopeBody: {
            filter?: {
                [key: string]: unknown;
            } | null;
            /** @default true */
            present_only: boolean;
        };
        SearchAnswer: {
            hits: components["schemas"]["HitAnswer"][];
            /** @enum {string} */
            how: "cosine" | "rocchio" | "probe" | "max" | "tags";
            centred: boolean;
            space: string;
            index: string;
            recall: number;
            snapshot: number;
            offset: number;
            next_offset: number | null;
            note: string;
            cursor?: string | null;
        } & {
            [key: string]: unknown;
        };
        SearchBody: {
            positives: components["schemas"]["ExampleBody"][];
            /** @default [] */
            negatives: components["schemas"]["ExampleBody"][];
            /** @default 10 */
            k: number;
            /** @default 0 */
            offset: number;
            cursor?: string | null;
            min_similarity?: number | null;
            filter?: {
                [key: string]: unknown;
            } | null;
            group_by?: string | null;
            space?: string | null;
            /**
             * @default auto
             * @enum {string}
             */
            method: "auto" | "rocchio" | "probe" | "max";
            /** @default 1 */
            alpha: number;
            /** @default 0.75 */
            beta: number;
            /** @default 0.15 */
            gamma: number;
            /** @default false */
            centred: boolean;
            /** @default [] */
            fields: string[];
        };
        SelectJob: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            kind: "select";
            params?: components["schemas"]["SelectParams"];
        };
        SelectParams: {
            /** @default {} */
            settings: {
                [key: string]: string | number | boolean | unknown[] | {
                    [key: string]: unknown;
                } | null;
            };
            budget?: (number | string) | null;
            method?: string | null;
            strategies?: (string | {
                [key: string]: unknown;
            })[] | null;
            name?: string | null;
            filter?: {
                [key: string]: unknown;
            } | null;
            per_group?: string | null;
            quotas?: string | {
                [key: string]: number;
            } | null;
            preselected?: string | null;
            min_distance?: number | null;
            spacing_s?: number | null;
            threshold?: number | null;
            stop_coverage?: number | null;
            scores?: string | null;
        };
        SelectionEntry: {
            name: string;
            n: number;
            method: string;
            budget: number;
            verdict: string | null;
            is_better: boolean | null;
        } & {
            [key: string]: unknown;
        };
        SelectionPage: {
            name: string;
            n: number;
            offset: number;
            next_offset: number | null;
            picks: components["schemas"]["Pick"][];
            evidence: {
                [key: string]: unknown;
            };
        } & {
            [key: string]: unknown;
        };
        SelectionsAnswer: {
            selections: components["schemas"]["SelectionEntry"][];
        } & {
            [key: string]: unknown;
        };
        Session: {
            who: string;
            role: string;
            /** @enum {string} */
            via: "open" | "bearer" | "cookie";
            csrf: string;
        } & {
            [key: string]: unknown;
        };
        SnapshotAnswer: {
            name: string;
            sequence: number;
            rows: number;
            created: number;
        } & {
            [key: string]: unknown;
        };
        SnapshotBody: {
            name: string;
        };
        SnapshotsAnswer: {
            snapshots: components["schemas"]["SnapshotAnswer"][];
        } & {
            [key: string]: unknown;
        };
        SortBody: {
            column: string;
            /** @default false */
            descending: boolean;
        };
        SplitJob: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            kind: "split";
            params?: components["schemas"]["SplitParams"];
        };
        SplitParams: {
            /** @default {} */
            settings: {
                [key: string]: string | number | boolean | unknown[] | {
                    [key: string]: unknown;
                } | null;
            };
            ratios?: string | null;
            group_by?: string[] | null;
            balance?: string[] | null;
            keep?: string | null;
            against?: string | null;
            name?: string | null;
        };
        SplitsAnswer: {
            splits: {
                [key: string]: unknown;
            }[];
        } & {
            [key: string]: unknown;
        };
        StageParams: {
            /** @default {} */
            settings: {
                [key: string]: string | number | boolean | unknown[] | {
                    [key: string]: unknown;
                } | null;
            };
            /** @default false */
            fresh: boolean;
        };
        TagsAnswer: {
            tags: components["schemas"]["CountedName"][];
        } & {
            [key: string]: unknown;
        };
        TilesJob: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            kind: "tiles";
            params?: components["schemas"]["Params"];
        };
        TokenAnswer: {
            id: string;
            name: string;
            /** @enum {string} */
            role: "reader" | "reviewer" | "admin";
            created: number;
            expires: number | null;
            revoked: number | null;
            used: number | null;
            is_alive: boolean;
        } & {
            [key: string]: unknown;
        };
        TokensAnswer: {
            tokens: components["schemas"]["TokenAnswer"][];
        } & {
            [key: string]: unknown;
        };
        TriggerAnswer: {
            name: string;
            campaign: string;
            mode: number;
            quota: number;
            threshold: number;
            runs: {
                [key: string]: unknown;
            }[];
            precision: components["schemas"]["PrecisionAnswer"];
        } & {
            [key: string]: unknown;
        };
        TriggerBody: {
            name: string;
            campaign: string;
            /** @default 1 */
            mode: number;
            filter?: {
                [key: string]: unknown;
            } | null;
            /** @default 20 */
            quota: number;
            threshold?: number | null;
        };
        TriggersAnswer: {
            triggers: components["schemas"]["TriggerAnswer"][];
            runs: {
                [key: string]: unknown;
            }[];
        } & {
            [key: string]: unknown;
        };
        UploadAnswer: {
            upload: string;
            files: components["schemas"]["FileAnswer"][];
            bytes: number;
        } & {
            [key: string]: unknown;
        };
        UploadEntry: {
            upload: string;
            n_files: number;
            bytes: number;
            created: number;
        } & {
            [key: string]: unknown;
        };
        UploadsAnswer: {
            uploads: components["schemas"]["UploadEntry"][];
        } & {
            [key: string]: unknown;
        };
        VerifyJob: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            kind: "verify";
            params?: components["schemas"]["VerifyParams"];
        };
        VerifyParams: Record<string, never>;
        Why: {
            row: number;
            uri: string;
            selection: string | null;
            status: string;
            sentences: string[];
        } & {
            [key: string]: unknown;
        };
        WorkspaceEntry: {
            name: string;
            rows: number | null;
            snapshot: number | null;
            error?: components["schemas"]["ErrorDetail"] | null;
        } & {
            [key: string]: unknown;
        };
        Workspaces: {
            workspaces: components["schemas"]["WorkspaceEntry"][];
        } & {
            [key: string]: unknown;
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    healthz: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Health"];
                };
            };
        };
    };
    readyz: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Readiness"];
                };
            };
        };
    };
    metrics: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": unknown;
                };
            };
        };
    };
    session: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Session"];
                };
            };
        };
    };
    login: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Login"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Session"];
                };
            };
        };
    };
    logout: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    tokens: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TokensAnswer"];
                };
            };
        };
    };
    create_token: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NewToken"];
            };
        };
        responses: {
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MadeToken"];
                };
            };
        };
    };
    revoke_token: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TokenAnswer"];
                };
            };
        };
    };
    list_workspaces: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Workspaces"];
                };
            };
        };
    };
    create: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NewWorkspace"];
            };
        };
        responses: {
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["WorkspaceEntry"];
                };
            };
        };
    };
    info: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                ws: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Info"];
                };
            };
        };
    };
    runs: {
        parameters: {
            query?: {
                limit?: number;
            };
            header?: never;
            path: {
                ws: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Runs"];
                };
            };
        };
    };
    columns: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                ws: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Columns"];
                };
            };
        };
    };
    show: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                ws: string;
                row: number;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Record"];
                };
            };
        };
    };
    search: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                ws: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SearchBody"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SearchAnswer"];
                };
            };
        };
    };
    search_upload: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                ws: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "multipart/form-data": components["schemas"]["Body_search_upload"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SearchAnswer"];
                };
            };
        };
    };
    search_batch: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                ws: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["BatchBody"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["BatchAnswer"];
                };
            };
        };
    };
    near_duplicates: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                ws: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["DuplicatesBody"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DuplicatesAnswer"];
                };
            };
        };
    };
    near_duplicates_upload: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                ws: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "multipart/form-data": components["schemas"]["Body_near_duplicates_upload"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DuplicatesAnswer"];
                };
            };
        };
    };
    query_rows: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                ws: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["RowsBody"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RowsAnswer"];
                };
            };
        };
    };
    facets: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                ws: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["FacetsBody"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["FacetsAnswer"];
                };
            };
        };
    };
    scope: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                ws: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ScopeBody"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/octet-stream": unknown;
                };
            };
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    map_: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                ws: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/octet-stream": unknown;
                };
            };
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    legend: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                ws: string;
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["LegendAnswer"];
                };
            };
        };
    };
    codes: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                ws: string;
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/octet-stream": unknown;
                };
            };
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    neighbors: {
        parameters: {
            query?: {
                k?: number;
            };
            header?: never;
            path: {
                ws: string;
                row: number;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SearchAnswer"];
                };
            };
        };
    };
    image: {
        parameters: {
            query?: {
                size?: string;
                box?: string | null;
            };
            header?: never;
            path: {
                ws: string;
                row: number;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "image/jpeg": unknown;
                    "image/png": unknown;
                    "image/webp": unknown;
                    "application/octet-stream": unknown;
                };
            };
            206: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    pack: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                ws: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PackBody"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/octet-stream": unknown;
                };
            };
        };
    };
    groups: {
        parameters: {
            query?: {
                order?: "loosest" | "largest" | "row";
                offset?: number;
                limit?: number;
            };
            header?: never;
            path: {
                ws: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["GroupsAnswer"];
                };
            };
        };
    };
    certificate: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                ws: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CertificateAnswer"];
                };
            };
        };
    };
    counts: {
        parameters: {
            query: {
                thresholds: string;
            };
            header?: never;
            path: {
                ws: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        [key: string]: unknown;
                    };
                };
            };
        };
    };
    tags: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                ws: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TagsAnswer"];
                };
            };
        };
    };
    tag: {
        parameters: {
            query?: never;
            header?: {
                "Idempotency-Key"?: string | null;
            };
            path: {
                ws: string;
                tag: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["RowsOrFilter"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DecisionAnswer"];
                };
            };
        };
    };
    untag: {
        parameters: {
            query?: never;
            header?: {
                "Idempotency-Key"?: string | null;
            };
            path: {
                ws: string;
                tag: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["RowsOrFilter"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DecisionAnswer"];
                };
            };
        };
    };
    delete_tag: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                ws: string;
                tag: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DecisionAnswer"];
                };
            };
        };
    };
    rename_tag: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                ws: string;
                tag: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["RenameBody"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DecisionAnswer"];
                };
            };
        };
    };
    collections: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                ws: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CollectionsAnswer"];
                };
            };
        };
    };
    create_collection: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                ws: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CollectionBody"];
            };
        };
        responses: {
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DecisionAnswer"];
                };
            };
        };
    };
    collection: {
        parameters: {
            query?: {
                offset?: number;
                limit?: number;
            };
            header?: never;
            path: {
                ws: string;
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CollectionAnswer"];
                };
            };
        };
    };
    delete_collection: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                ws: string;
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DecisionAnswer"];
                };
            };
        };
    };
    rename_collection: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                ws: string;
                name: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["RenameBody"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DecisionAnswer"];
                };
            };
        };
    };
    collect: {
        parameters: {
            query?: never;
            header?: {
                "Idempotency-Key"?: string | null;
            };
            path: {
                ws: string;
                name: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["RowsOrFilter"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DecisionAnswer"];
                };
            };
        };
    };
    uncollect: {
        parameters: {
            query?: never;
            header?: {
                "Idempotency-Key"?: string | null;
            };
            path: {
                ws: string;
                name: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["RowsOrFilter"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DecisionAnswer"];
                };
            };
        };
    };
    decisions: {
        parameters: {
            query?: {
                kind?: string | null;
                subject?: string | null;
                row?: number | null;
                who?: string | null;
                include_undone?: boolean;
                before?: number | null;
                limit?: number;
            };
            header?: never;
            path: {
                ws: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DecisionsAnswer"];
                };
            };
        };
    };
    decide: {
        parameters: {
            query?: never;
            header?: {
                "Idempotency-Key"?: string | null;
            };
            path: {
                ws: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["DecisionBody"];
            };
        };
        responses: {
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DecisionAnswer"];
                };
            };
        };
    };
    undo: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                ws: string;
                number: number;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DecisionAnswer"];
                };
            };
        };
    };
    redo: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                ws: string;
                number: number;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DecisionAnswer"];
                };
            };
        };
    };
    export_state: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                ws: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/x-ndjson": unknown;
                };
            };
        };
    };
    import_state: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                ws: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/x-ndjson": string;
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ImportAnswer"];
                };
            };
        };
    };
    campaigns: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                ws: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CampaignsAnswer"];
                };
            };
        };
    };
    create_campaign: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                ws: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CampaignBody"];
            };
        };
        responses: {
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CampaignAnswer"];
                };
            };
        };
    };
    campaign: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                ws: string;
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CampaignAnswer"];
                };
            };
        };
    };
    delete_campaign: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                ws: string;
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    next_of_mode: {
        parameters: {
            query?: {
                k?: number;
            };
            header?: never;
            path: {
                ws: string;
                name: string;
                mode: number;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["BatchOfMode"];
                };
            };
        };
    };
    review: {
        parameters: {
            query?: never;
            header?: {
                "Idempotency-Key"?: string | null;
            };
            path: {
                ws: string;
                name: string;
                mode: number;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ReviewBody"];
            };
        };
        responses: {
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DecisionAnswer"];
                };
            };
        };
    };
    export_campaign: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                ws: string;
                name: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ExportBody"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ExportedAnswer"];
                };
            };
        };
    };
    triggers: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                ws: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TriggersAnswer"];
                };
            };
        };
    };
    create_trigger: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                ws: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["TriggerBody"];
            };
        };
        responses: {
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TriggerAnswer"];
                };
            };
        };
    };
    run_triggers: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                ws: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TriggersAnswer"];
                };
            };
        };
    };
    delete_trigger: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                ws: string;
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    start_job: {
        parameters: {
            query?: {
                wait?: number;
            };
            header?: {
                "Idempotency-Key"?: string | null;
            };
            path: {
                ws: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["RunJob"] | components["schemas"]["IngestJob"] | components["schemas"]["EmbedJob"] | components["schemas"]["TilesJob"] | components["schemas"]["IndexJob"] | components["schemas"]["NeardupsJob"] | components["schemas"]["IssuesJob"] | components["schemas"]["ClusterJob"] | components["schemas"]["MapJob"] | components["schemas"]["SelectJob"] | components["schemas"]["ReportJob"] | components["schemas"]["CalibrateJob"] | components["schemas"]["SplitJob"] | components["schemas"]["LeaksJob"] | components["schemas"]["CompareJob"] | components["schemas"]["VerifyJob"] | components["schemas"]["ExportJob"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["JobBody"];
                };
            };
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["JobBody"];
                };
            };
        };
    };
    list_jobs: {
        parameters: {
            query?: {
                workspace?: string | null;
                state?: ("queued" | "running" | "done" | "failed" | "cancelled" | "interrupted") | null;
                limit?: number;
                offset?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Jobs"];
                };
            };
        };
    };
    job: {
        parameters: {
            query?: {
                wait?: number;
            };
            header?: never;
            path: {
                job_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["JobBody"];
                };
            };
        };
    };
    job_log: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                job_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["JobLog"];
                };
            };
        };
    };
    job_events: {
        parameters: {
            query?: never;
            header?: {
                "Last-Event-ID"?: number;
            };
            path: {
                job_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/event-stream": string;
                };
            };
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    cancel_job: {
        parameters: {
            query?: {
                wait?: number;
            };
            header?: never;
            path: {
                job_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["JobBody"];
                };
            };
        };
    };
    resume_job: {
        parameters: {
            query?: {
                wait?: number;
            };
            header?: never;
            path: {
                job_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["JobBody"];
                };
            };
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["JobBody"];
                };
            };
        };
    };
    job_file: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                job_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/octet-stream": unknown;
                };
            };
        };
    };
    list_uploads: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                ws: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["UploadsAnswer"];
                };
            };
        };
    };
    upload_images: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                ws: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "multipart/form-data": {
                    files: string[];
                };
            };
        };
        responses: {
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["UploadAnswer"];
                };
            };
        };
    };
    delete_upload: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                ws: string;
                upload: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    list_selections: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                ws: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SelectionsAnswer"];
                };
            };
        };
    };
    selection: {
        parameters: {
            query?: {
                offset?: number;
                limit?: number;
            };
            header?: never;
            path: {
                ws: string;
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SelectionPage"];
                };
            };
        };
    };
    selection_file: {
        parameters: {
            query?: {
                format?: "paths" | "csv" | "parquet" | "coco-images";
                first?: number | null;
            };
            header?: never;
            path: {
                ws: string;
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": unknown;
                    "text/csv": unknown;
                    "application/vnd.apache.parquet": unknown;
                    "application/json": unknown;
                };
            };
        };
    };
    coverage: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                ws: string;
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/octet-stream": unknown;
                };
            };
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    explain: {
        parameters: {
            query?: {
                selection?: string | null;
            };
            header?: never;
            path: {
                ws: string;
                row: number;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Why"];
                };
            };
        };
    };
    list_splits: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                ws: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SplitsAnswer"];
                };
            };
        };
    };
    report_page: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                ws: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/html": unknown;
                };
            };
        };
    };
    report_numbers: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                ws: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": unknown;
                };
            };
        };
    };
    calibration: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                ws: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CalibrationAnswer"];
                };
            };
        };
    };
    calibration_pairs: {
        parameters: {
            query?: {
                limit?: number;
            };
            header?: never;
            path: {
                ws: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PairsAnswer"];
                };
            };
        };
    };
    answer_pairs: {
        parameters: {
            query?: never;
            header?: {
                "Idempotency-Key"?: string | null;
            };
            path: {
                ws: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["AnswersBody"];
            };
        };
        responses: {
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AnswersKept"];
                };
            };
        };
    };
    list_snapshots: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                ws: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SnapshotsAnswer"];
                };
            };
        };
    };
    save_snapshot: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                ws: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SnapshotBody"];
            };
        };
        responses: {
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SnapshotAnswer"];
                };
            };
        };
    };
    delete_snapshot: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                ws: string;
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    indices_list: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": string[];
                };
            };
        };
    };
    knn_service: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["KnnBody"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["KnnResult"][];
                };
            };
        };
    };
    metadata: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["MetadataBody"];
            };
        };
        responses: {
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MetadataResult"][];
                };
            };
        };
    };
}
