# check=nonsense
FROM busybox
