FROM busybox
workdri /x
