//! Templates of tags: Go's `text/template` but for templates inside templates, with dockerd's functions.

mod parse;
mod run;

use std::collections::BTreeMap;

/// What a template works on and with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Text(String),
    Number(i64),
    Truth(bool),
    List(Vec<Self>),
    Map(BTreeMap<String, Self>),
    /// What the template is about: has fields, and is nothing else.
    Container,
}

impl Value {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// Does it count as true?
    pub(crate) fn is_true(&self) -> bool {
        match self {
            Self::Text(text) => !text.is_empty(),
            Self::Number(number) => *number != 0,
            Self::Truth(truth) => *truth,
            Self::List(list) => !list.is_empty(),
            Self::Map(map) => !map.is_empty(),
            Self::Container => true,
        }
    }
}

/// As Go prints it.
impl std::fmt::Display for Value {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => to.write_str(text),
            Self::Number(number) => number.fmt(to),
            Self::Truth(truth) => truth.fmt(to),
            Self::List(list) => {
                let texts: Vec<_> = list.iter().map(Self::to_string).collect();
                write!(to, "[{}]", texts.join(" "))
            }
            Self::Map(map) => {
                let texts: Vec<_> = map.iter().map(|(k, v)| format!("{k}:{v}")).collect();
                write!(to, "map[{}]", texts.join(" "))
            }
            Self::Container => to.write_str("container"),
        }
    }
}

/// Looks a field of the container up.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<Value>;

/// Fills a template in.
///
/// # Errors
/// What is wrong with it, in Go's words where dockerd says something.
pub(crate) fn execute(template: &str, lookup: Lookup<'_>) -> Result<String, String> {
    run::run(&parse::parse(template)?, lookup)
}

fn syntax(what: &str) -> String {
    format!("template: log-tag:1: {what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(template: &str) -> Result<String, String> {
        execute(template, &|name| match name {
            "Name" => Some(Value::text("web")),
            "Labels" => Some(Value::Map([("a".to_owned(), Value::text("1"))].into())),
            "Args" => Some(Value::List(vec![Value::text("x"), Value::text("y")])),
            "Empty" => Some(Value::text("")),
            "Empties" => Some(Value::List(Vec::new())),
            _ => None,
        })
    }

    #[test]
    fn fields_functions_and_conditions_are_filled_in() {
        for (template, text) in [
            ("plain", "plain"),
            ("{{.Name}}/{{ .Name }}", "web/web"),
            (
                "{{upper .Name}} {{.Name | upper | printf \"%s-%d\" \"a\" | lower}}",
                "WEB a-%!d(string=web)",
            ),
            ("{{printf \"%q:%v\" .Name 5}}", "\"web\":5"),
            (
                "{{index .Labels \"a\"}}{{.Labels.a}}{{.Labels.b}}",
                "11<no value>",
            ),
            (
                "{{join .Args \",\"}} {{.Args}} {{.Labels}}",
                "x,y [x y] map[a:1]",
            ),
            (
                "{{if .Empty}}no{{else}}yes{{end}}{{if eq .Name \"web\"}}!{{end}}",
                "yes!",
            ),
            (
                "{{truncate .Name 2}}{{pad .Name 1 2}}{{title .Name}}{{json .Args}}",
                "we web  Web[\"x\",\"y\"]",
            ),
            ("a {{- .Name -}} b {{/* nothing */}}", "awebb "),
            ("{{index (split \"a/b\" \"/\") 1}}{{len .Name}}", "b3"),
            ("{{range .Args}}<{{.}}>{{end}}", "<x><y>"),
            (
                "{{range $i, $e := .Args}}{{if $i}},{{end}}{{$i}}={{$e}}{{$.Name}}{{end}}",
                "0=xweb,1=yweb",
            ),
            ("{{range $k, $v := .Labels}}{{$k}}:{{$v}}{{end}}", "a:1"),
            ("{{range .Empties}}x{{else}}none{{end}}", "none"),
            ("{{range $n := 3}}{{$n}}{{end}}", "012"),
            (
                "{{range .Args}}{{if eq . \"y\"}}{{break}}{{end}}{{.}}{{continue}}!{{end}}",
                "x",
            ),
            ("{{with .Empty}}no{{else}}{{.Name}}{{end}}", "web"),
            ("{{with .Empty}}no{{else with .Name}}{{.}}!{{end}}", "web!"),
            ("{{with $n := upper .Name}}{{$n}}{{.}}{{end}}", "WEBWEB"),
            (
                "{{$x := .Name}}{{if .Name}}{{$x = \"in\"}}{{$x := 1}}{{end}}{{$x}}",
                "in",
            ),
            (
                "{{if .Empty}}a{{else if eq .Name \"db\"}}b{{else if .Name}}c{{else}}d{{end}}",
                "c",
            ),
            ("{{with .Labels}}{{.a}}{{(index $.Args 0)}}{{end}}", "1x"),
        ] {
            assert_eq!(run(template).as_deref(), Ok(text), "{template}");
        }
    }

    #[test]
    fn what_cannot_be_is_said_in_gos_words() {
        for (template, why) in [
            ("{{", "template: log-tag:1: unclosed action"),
            (
                "{{foo .Name}}",
                "template: log-tag:1: function \"foo\" not defined",
            ),
            (
                "a{{.Foo}}",
                "template: log-tag:1:3: executing \"log-tag\" at <.Foo>: can't evaluate field Foo in \
                 type *logger.Info",
            ),
            ("{{if .Name}}x", "template: log-tag:1: unexpected EOF"),
            ("{{end}}", "template: log-tag:1: unexpected {{end}}"),
            ("{{}}", "template: log-tag:1: missing value for command"),
            ("{{range .Args}}", "template: log-tag:1: unexpected EOF"),
            ("{{else}}", "template: log-tag:1: unexpected {{else}}"),
            (
                "{{if .Name}}{{else}}{{else}}{{end}}",
                "template: log-tag:1: expected end; found {{else}}",
            ),
            (
                "{{break}}",
                "template: log-tag:1: {{break}} outside {{range}}",
            ),
            ("{{$x}}", "template: log-tag:1: undefined variable \"$x\""),
            (
                "{{if .Name}}{{$x := 1}}{{end}}{{$x}}",
                "template: log-tag:1: undefined variable \"$x\"",
            ),
            (
                "{{if .Empty}}{{foo}}{{end}}",
                "template: log-tag:1: function \"foo\" not defined",
            ),
            (
                "{{range .Name}}{{end}}",
                "template: log-tag:1:2: executing \"log-tag\" at <.Name>: range can't iterate over web",
            ),
            (
                "{{range 1000000000}}{{end}}",
                "template: log-tag:1: the tag takes too long to fill in",
            ),
            (
                "{{.}}",
                "template: log-tag:1:2: executing \"log-tag\" at <.>: the container is no text",
            ),
            (
                "{{template \"x\"}}",
                "template: log-tag:1: template is not supported in a log tag",
            ),
        ] {
            assert_eq!(run(template).unwrap_err(), why, "{template}");
        }
    }
}
