"""The web service: a thin door over the same functions as the command line.

settings     what the server was started with
problems     every error as a status and one JSON shape
registry     the workspaces under the root, each open at its newest snapshot
security     who asks, and what they may do
limits       bodies, rates and concurrency
middleware   request ids, access log, headers, the Host check
metrics      Prometheus numbers
protocol     connections that send their headers slowly or without end
schemas      what goes in and out, for the contract
jobs         long work in child processes, one writer per workspace
routes       one file per kind of thing
app          puts it all together
server       starts it
"""
