"""A simulated Discord: gateway, REST, file host and control API on real sockets."""
