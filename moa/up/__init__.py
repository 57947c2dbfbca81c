"""`moa up`: engines of this machine, started and kept running for several runs."""
