"""Many models at once: a plan of runs, worker processes that train them, one record of what came out.

Only `worker` imports torch, and only inside a worker process.
"""
