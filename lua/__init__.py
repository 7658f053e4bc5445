"""The redstep scripts: one file each, runnable by `redis-cli --eval`."""
