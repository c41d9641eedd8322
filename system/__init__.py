"""What every process of eventmill needs of its machine: its end, its folders, its log, restarts."""
