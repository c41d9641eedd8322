"""The command line: `eventmill master`, `worker`, `status` and so on, the demo and its sample."""
