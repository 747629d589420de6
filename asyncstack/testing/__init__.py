"""Tools to test networked programs with: virtual time, a simulated network, faults. Shipped and documented."""
