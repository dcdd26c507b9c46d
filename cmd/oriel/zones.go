package main

// Time zones, for machines and images that have none.
import _ "time/tzdata"
