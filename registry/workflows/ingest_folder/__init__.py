"""Taking in a library: walk it, read it in worker processes, log it in this one."""
