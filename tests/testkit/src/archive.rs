//! Archives as no well-meaning program writes them.

/// Adds a member of any kind; `mode` is octal, seven digits. Device nodes have the numbers 1 and 3.
#[expect(clippy::too_many_arguments, reason = "a header has that many fields")]
pub fn member(
    archive: &mut Vec<u8>,
    path: &[u8],
    kind: u8,
    link: &[u8],
    mode: &str,
    content: &[u8],
) {
    if path.len() > 100 {
        member(
            archive,
            b"././@LongLink",
            b'L',
            b"",
            "0000644",
            &[path, b"\0"].concat(),
        );
    }
    let mut block = [0_u8; 512];
    let short = &path[..path.len().min(100)];
    block[..short.len()].copy_from_slice(short);
    block[100..107].copy_from_slice(mode.as_bytes());
    block[108..115].copy_from_slice(b"0000000");
    block[116..123].copy_from_slice(b"0000000");
    block[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
    block[156] = kind;
    block[157..157 + link.len()].copy_from_slice(link);
    block[257..265].copy_from_slice(b"ustar  \0");
    append(archive, block, content);
}

/// Adds a member with this header, which has everything but the numbers of a device and the checksum.
pub fn append(archive: &mut Vec<u8>, mut header: [u8; 512], content: &[u8]) {
    header[329..336].copy_from_slice(b"0000001");
    header[337..344].copy_from_slice(b"0000003");
    check(&mut header);
    archive.extend(header);
    archive.extend(content);
    archive.resize(archive.len().next_multiple_of(512), 0);
}

/// Writes the checksum of a header anew.
pub fn check(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
}

/// Adds a file.
pub fn file(archive: &mut Vec<u8>, path: &[u8], content: &[u8]) {
    member(archive, path, b'0', b"", "0000644", content);
}

/// Ends the archive.
pub fn ended(mut archive: Vec<u8>) -> Vec<u8> {
    archive.extend([0; 1024]);
    archive
}
