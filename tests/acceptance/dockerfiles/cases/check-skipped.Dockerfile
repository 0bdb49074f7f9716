# check=skip=FromAsCasing;error=true
FROM busybox as base
LABEL a=1
