//! Looking for the detach keys in what a client types.

/// The state of the search, across pieces of input.
#[derive(Debug)]
pub(crate) struct Scanner {
    keys: Vec<u8>,
    matched: usize,
}

impl Scanner {
    /// Looks for `keys`; never finds anything when there are none.
    pub(crate) fn new(keys: Vec<u8>) -> Self {
        Self { keys, matched: 0 }
    }

    /// Appends to `out` what is to be passed on. Keys that begin a sequence are held back until the
    /// next one decides. Returns `true` when the sequence is complete; what follows it is dropped.
    pub(crate) fn scan(&mut self, input: &[u8], out: &mut Vec<u8>) -> bool {
        if self.keys.is_empty() {
            out.extend_from_slice(input);
            return false;
        }
        for &byte in input {
            if self.keys.get(self.matched) == Some(&byte) {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    self.matched = 0;
                    return true;
                }
                continue;
            }
            out.extend(self.keys.iter().take(self.matched));
            self.matched = 0;
            if self.keys.first() == Some(&byte) {
                self.matched = 1;
            } else {
                out.push(byte);
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(pieces: &[&[u8]]) -> (Vec<u8>, bool) {
        let mut scanner = Scanner::new(vec![16, 17]);
        let mut out = Vec::new();
        let found = pieces.iter().any(|piece| scanner.scan(piece, &mut out));
        (out, found)
    }

    #[test]
    fn the_sequence_is_found_across_pieces() {
        assert_eq!(scan(&[b"ab\x10", b"\x11cd"]), (b"ab".to_vec(), true));
    }

    #[test]
    fn what_only_begins_like_it_is_passed_on() {
        assert_eq!(
            scan(&[b"a\x10b\x10\x10", b"c"]),
            (b"a\x10b\x10\x10c".to_vec(), false)
        );
        assert_eq!(scan(&[b"\x10\x10\x11"]), (b"\x10".to_vec(), true));
    }

    #[test]
    fn a_sequence_of_one_key_works() {
        let mut scanner = Scanner::new(vec![b'd']);
        let mut out = Vec::new();
        assert!(scanner.scan(b"abcd", &mut out));
        assert_eq!(out, b"abc");
    }
}
