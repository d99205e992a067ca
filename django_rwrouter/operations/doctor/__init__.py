"""Whether the servers are set up for what the router does with them.

``facts`` is what a server said, ``examination`` asks all servers of a cluster and compares them, and one
module for each database judges what its servers said. Nothing is ever changed on a server.
"""
