"""Staff's pages outside the admin: the notify form, and the simulator's phones."""
