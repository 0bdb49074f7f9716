//! What is wrong with a text that is not JSON, in the words of Go's `encoding/json`.

/// How deep values may be nested: as deep as serde reads them.
const DEEPEST: usize = 128;

/// Why reading stopped; nothing is known when the text just ends.
type Stumble = Option<String>;

struct Scanner<'a> {
    rest: &'a [u8],
}

/// Go's words for the first character that cannot stand where it stands; `None` when the text ends too early,
/// or nothing is wrong with it.
pub(crate) fn stumble(body: &[u8]) -> Option<String> {
    Scanner { rest: body }.value(0).err().flatten()
}

impl Scanner<'_> {
    fn blanks(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    fn peek(&self) -> Result<u8, Stumble> {
        self.rest.first().copied().ok_or(None)
    }

    fn step(&mut self) {
        self.rest = self.rest.get(1..).unwrap_or_default();
    }

    fn take(&mut self, wanted: impl Fn(u8) -> bool) -> bool {
        let taken = self.rest.first().is_some_and(|byte| wanted(*byte));
        if taken {
            self.step();
        }
        taken
    }

    fn wrong<T>(&self, place: &str) -> Result<T, Stumble> {
        let character = match self.peek()? {
            b'\'' => "\\'".to_owned(),
            b'"' => "\"".to_owned(),
            byte @ (b'\t' | b'\n' | b'\r' | b'\\') => char::from(byte).escape_default().to_string(),
            byte if byte.is_ascii_control() => format!("\\x{byte:02x}"),
            byte => char::from(byte).to_string(),
        };
        Err(Some(format!("invalid character '{character}' {place}")))
    }

    fn value(&mut self, depth: usize) -> Result<(), Stumble> {
        if depth > DEEPEST {
            return Err(Some("exceeded max depth".to_owned()));
        }
        self.blanks();
        match self.peek()? {
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => self.string(),
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            _ => self.wrong("looking for beginning of value"),
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), Stumble> {
        self.step();
        self.blanks();
        if self.take(|byte| byte == b'}') {
            return Ok(());
        }
        loop {
            self.blanks();
            if self.peek()? != b'"' {
                return self.wrong("looking for beginning of object key string");
            }
            self.string()?;
            self.blanks();
            if !self.take(|byte| byte == b':') {
                return self.wrong("after object key");
            }
            self.value(depth + 1)?;
            self.blanks();
            if self.take(|byte| byte == b'}') {
                return Ok(());
            }
            if !self.take(|byte| byte == b',') {
                return self.wrong("after object key:value pair");
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), Stumble> {
        self.step();
        self.blanks();
        if self.take(|byte| byte == b']') {
            return Ok(());
        }
        loop {
            self.value(depth + 1)?;
            self.blanks();
            if self.take(|byte| byte == b']') {
                return Ok(());
            }
            if !self.take(|byte| byte == b',') {
                return self.wrong("after array element");
            }
        }
    }

    fn string(&mut self) -> Result<(), Stumble> {
        self.step();
        loop {
            match self.peek()? {
                b'"' => break self.step(),
                b'\\' => self.escape()?,
                0..0x20 => return self.wrong("in string literal"),
                _ => self.step(),
            }
        }
        Ok(())
    }

    fn escape(&mut self) -> Result<(), Stumble> {
        self.step();
        if self.take(|byte| byte == b'u') {
            for _digit in 0..4 {
                if !self.take(|byte| byte.is_ascii_hexdigit()) {
                    return self.wrong("in \\u hexadecimal character escape");
                }
            }
            return Ok(());
        }
        if self.take(|byte| b"bfnrt\\/\"".contains(&byte)) {
            return Ok(());
        }
        self.wrong("in string escape code")
    }

    fn number(&mut self) -> Result<(), Stumble> {
        let digit = |byte: u8| byte.is_ascii_digit();
        self.take(|byte| byte == b'-');
        if !self.take(|byte| byte == b'0') {
            self.digits("in numeric literal")?;
        }
        if self.take(|byte| byte == b'.') {
            self.digits("after decimal point in numeric literal")?;
        }
        if self.take(|byte| matches!(byte, b'e' | b'E')) {
            self.take(|byte| matches!(byte, b'+' | b'-'));
            self.digits("in exponent of numeric literal")?;
        }
        while self.take(digit) {}
        Ok(())
    }

    fn digits(&mut self, place: &str) -> Result<(), Stumble> {
        if !self.take(|byte| byte.is_ascii_digit()) {
            return self.wrong(place);
        }
        while self.take(|byte| byte.is_ascii_digit()) {}
        Ok(())
    }

    fn literal(&mut self, name: &str) -> Result<(), Stumble> {
        for wanted in name.bytes() {
            if !self.take(|byte| byte == wanted) {
                let wanted = char::from(wanted);
                return self.wrong(&format!("in literal {name} (expecting '{wanted}')"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_told_as_go_tells_it() {
        for (text, wanted) in [
            ("{invalid", "'i' looking for beginning of object key string"),
            (
                "{\"a\":1,}",
                "'}' looking for beginning of object key string",
            ),
            ("invalid", "'i' looking for beginning of value"),
            ("[1,]", "']' looking for beginning of value"),
            ("{\"a\" 1}", "'1' after object key"),
            ("{\"a\":1 \"b\"}", "'\"' after object key:value pair"),
            ("[1 2]", "'2' after array element"),
            ("\"a\nb\"", "'\\n' in string literal"),
            ("\"\\x\"", "'x' in string escape code"),
            ("\"\\u12g4\"", "'g' in \\u hexadecimal character escape"),
            ("-a", "'a' in numeric literal"),
            ("1.x", "'x' after decimal point in numeric literal"),
            ("1e'", "'\\'' in exponent of numeric literal"),
            ("trve", "'v' in literal true (expecting 'u')"),
        ] {
            let told = stumble(text.as_bytes()).unwrap();
            assert_eq!(told, format!("invalid character {wanted}"), "{text}");
        }
    }

    #[test]
    fn what_ends_too_early_has_no_such_character() {
        for text in ["", "{", "[1", "\"a", "tru", "{\"a\":", "{}"] {
            assert_eq!(stumble(text.as_bytes()), None, "{text}");
        }
        assert_eq!(
            stumble("[".repeat(500).as_bytes()).as_deref(),
            Some("exceeded max depth")
        );
    }
}
