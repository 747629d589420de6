"""How an interface gets addresses without a server: stateless autoconfiguration, and the checks before."""
