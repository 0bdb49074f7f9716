FROM busybox
COPY a.txt b.txt /files/
COPY a.txt /renamed
COPY ["a.txt", "/json file"]
