FROM busybox
COPY *.txt /p/
COPY dir/*/t*.txt /q/
