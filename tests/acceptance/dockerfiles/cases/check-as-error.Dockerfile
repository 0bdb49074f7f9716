# check=error=true
FROM busybox as base
