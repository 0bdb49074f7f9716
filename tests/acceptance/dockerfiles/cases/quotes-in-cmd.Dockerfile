FROM busybox
CMD ["a\"b", "c\\d", "\u00e9\n"]
