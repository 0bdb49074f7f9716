//! Any bytes as a Dockerfile: it is read or refused, never more than that, and what is read can be
//! expanded.
#![no_main]

use arca_dockerfile::{Dockerfile, Env, Kind, Lexer, LintConfig, Linter, Mount, syntax};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    drop(syntax(&text));
    let mut linter = Linter::new(LintConfig { experimental_all: true, ..LintConfig::default() });
    let Ok(file) = Dockerfile::parse(&text, &mut linter) else { return };
    let env = Env::from_texts(["A=1", "B=a/b.tar.gz", "C="]);
    let lexer = Lexer::new(file.escape);
    for stage in &file.stages {
        drop(lexer.expand(&stage.base, &env));
        for instruction in &stage.instructions {
            assert!(instruction.lines.start <= instruction.lines.end);
            drop(lexer.expand(&instruction.text, &env));
            if let Kind::Run(run) = &instruction.kind {
                for mount in &run.mounts {
                    let mut expand = |text: &str| lexer.expand(text, &env).map(|done| done.text);
                    drop(Mount::parse(mount, &mut expand));
                }
            }
        }
    }
});
