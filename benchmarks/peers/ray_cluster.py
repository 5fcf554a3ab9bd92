"""A Ray cluster of several nodes on this machine, in a process of its own: ``python ray_cluster.py [FILE]``; then a command a line.

``add CPUS [PYTHONPATH]`` adds a node, ``kill`` the node that was added last of those that run. Each is answered by a line.
FILE starts the processes of the nodes in place of Ray's `setup_worker.py`.
"""

import os
import sys

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  its name
# Ray ends a process that was idle for a second, and the next trial would import TensorFlow again.
os.environ["RAY_idle_worker_killing_time_threshold_ms"] = "600000"  # noqa: SIM112

import ray
from ray.cluster_utils import Cluster

NODE = {"object_store_memory": 100_000_000, "include_dashboard": False}
if sys.argv[1:]:
    NODE["setup_worker_path"] = sys.argv[1]
HEAD = {"no_monitor": True, "include_log_monitor": False}  # nothing scales it, and nobody reads its logs


def main() -> None:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **NODE, **HEAD})
    nodes = []
    print(cluster.address, flush=True)
    for line in sys.stdin:
        command, *arguments = line.split()
        if command == "add":
            path = {"env_vars": {"PYTHONPATH": arguments[1]}} if arguments[1:] else {}
            nodes.append(cluster.add_node(num_cpus=int(arguments[0]), **NODE, **path))
            cluster.wait_for_nodes(60)  # those that were killed are noticed too
        else:
            cluster.remove_node(nodes.pop(), allow_graceful=False)
        print(len(nodes), flush=True)
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main()
