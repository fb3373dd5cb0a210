"""The clients of this node, the rooms they are in, and the delivery of publications. Nothing here waits."""
