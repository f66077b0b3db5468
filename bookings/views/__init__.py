"""Staff's pages outside the admin: the notify form, whole numbers, and the simulator's phones."""
