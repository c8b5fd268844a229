#!/bin/sh
# Stands in for a worker: does what the test put two folders above its working folder.
. ../../script
