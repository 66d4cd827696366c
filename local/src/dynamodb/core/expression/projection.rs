//! Projections: the paths of an item that an answer shows.

use super::super::error::Error;
use super::super::path::Path;
use super::parser::Parser;
use super::placeholders::Placeholders;

/// Reads `a, b.c[0]`.
pub(in super::super) fn parse(text: &str, placeholders: &mut Placeholders) -> Result<Vec<Path>, Error> {
    let mut parser = Parser::of_expression("ProjectionExpression", text, placeholders)?;
    let mut paths = vec![parser.path()?];
    while parser.eat(",") {
        paths.push(parser.path()?);
    }
    parser.finish()?;
    require_apart("ProjectionExpression", &paths)?;
    Ok(paths)
}

/// Passes when no path leads through another.
pub(super) fn require_apart(label: &str, paths: &[Path]) -> Result<(), Error> {
    for (n, one) in paths.iter().enumerate() {
        if let Some(two) = paths[n + 1..].iter().find(|other| one.overlaps(other)) {
            return Err(Error::validation(format!(
                "Invalid {label}: Two document paths overlap with each other; must remove or rewrite one of these paths; \
                 path one: {one}, path two: {two}"
            )));
        }
    }
    Ok(())
}
