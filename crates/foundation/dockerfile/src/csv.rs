//! One line of comma-separated fields, as `--mount` has them.

/// The fields of `text`; a field in double quotes may hold commas, and `""` for a quote.
///
/// # Errors
/// A stray or missing quote, in the words and with the columns of Go's CSV reader.
pub fn csv_fields(text: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut at = 0;
    loop {
        let rest = text.get(at..).unwrap_or_default();
        let (field, taken) = match rest.strip_prefix('"') {
            Some(_) => quoted_field(rest, at)?,
            None => plain_field(rest, at)?,
        };
        fields.push(field);
        at += taken;
        if text.as_bytes().get(at) != Some(&b',') {
            return Ok(fields);
        }
        at += 1;
    }
}

fn plain_field(rest: &str, at: usize) -> Result<(String, usize), String> {
    let field = rest.split(',').next().unwrap_or_default();
    match field.find('"') {
        Some(quote) => Err(fault(at + quote + 1, "bare \" in non-quoted field")),
        None => Ok((field.to_owned(), field.len())),
    }
}

fn quoted_field(rest: &str, at: usize) -> Result<(String, usize), String> {
    let mut field = String::new();
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((place, ch)) = chars.next() {
        match (ch, chars.peek().map(|(_, next)| *next)) {
            ('"', Some('"')) => {
                chars.next();
                field.push('"');
            }
            ('"', None | Some(',')) => return Ok((field, place + 1)),
            ('"', Some(_)) => {
                return Err(fault(
                    at + place + 1,
                    "extraneous or missing \" in quoted-field",
                ));
            }
            (ch, _) => field.push(ch),
        }
    }
    Err(fault(
        at + rest.len() + 1,
        "extraneous or missing \" in quoted-field",
    ))
}

fn fault(column: usize, text: &str) -> String {
    format!("parse error on line 1, column {column}: {text}")
}

#[cfg(test)]
mod tests {
    use super::csv_fields;

    #[test]
    fn quotes_protect_commas() {
        assert_eq!(csv_fields("a,b=c"), Ok(vec!["a".into(), "b=c".into()]));
        assert_eq!(
            csv_fields("\"a,\"\"b\"\"\",,c"),
            Ok(vec!["a,\"b\"".into(), "".into(), "c".into()])
        );
        assert_eq!(
            csv_fields("a\"b"),
            Err("parse error on line 1, column 2: bare \" in non-quoted field".into())
        );
        assert!(csv_fields("\"a").is_err());
    }
}
