FROM busybox
ADD a.txt /x/
ADD archive.tar /t/
