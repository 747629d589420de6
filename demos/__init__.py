"""Small programs that show one thing each. Run them from the checkout: `python demos/tcp_echo.py`."""
