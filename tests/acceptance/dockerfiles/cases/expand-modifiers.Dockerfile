FROM busybox
ENV A=a/b.tar.gz E=
LABEL a=${A:-x} b=${N:-x} c=${E:-x} d=${E-x} e=${A:+y} f=${N:+y} g=${A#*/} h=${A##*.} i=${A%.*} j=${A%%.*} k=${A/a/z} l=${A//a/z}
