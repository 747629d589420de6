"""One module for each library: its servers, and the clients that use them."""
