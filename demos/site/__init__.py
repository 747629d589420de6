"""The demo site: a TCP connection on a bad link, watched live from a browser (`make demo`)."""
