"""The sample town of Lüttiswil: a small, invented place in the Swiss midlands.

`layout` says by hand where streets, railway, brook, wood and zones lie;
`cadastre` divides the ground into parcels; `buildings` sets houses on them;
`registers` lists addresses, roads, hydrants and owners; `terrain` and `photo`
make the rasters; `writers` puts all of it into files. Local coordinates are
metres east and north of `layout.ORIGIN` in EPSG:2056.
"""
