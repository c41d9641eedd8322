"""`eventmill top`: what goes on at a master, full-screen in a terminal. It takes the extra `top` (textual, histoprint)."""
