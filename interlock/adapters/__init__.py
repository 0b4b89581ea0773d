"""One file per engine; heavy libraries are imported only here."""
