"""The comparison side by side: workloads, a process for each program, rounds, tables."""
