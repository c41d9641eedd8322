"""What the batch system, the control group and the machine give a worker: cores, memory, time."""
