//! Rewrites `Graph -> Graph`, each of which can be left out.
