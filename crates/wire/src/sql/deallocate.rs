//! Which prepared statement a DEALLOCATE names.

use super::databases::identifier;
use super::lexer::{Lexer, TokenKind};

/// The name in a text that is one `DEALLOCATE [PREPARE] name` and nothing else. `None` for
/// ALL, and for any other text.
pub fn deallocated(sql: &[u8]) -> Option<String> {
    let mut lexer = Lexer::new(sql);
    lexer.next_token().filter(|token| token.is("deallocate"))?;
    let mut name = lexer.next_token()?;
    if name.is("prepare") {
        name = lexer.next_token()?;
    }
    if name.is("all") {
        return None;
    }
    let rest_is_empty =
        std::iter::from_fn(|| lexer.next_token()).all(|token| token.kind == TokenKind::Semicolon);
    if rest_is_empty {
        identifier(&name)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sql: &str, name: Option<&str>) {
        assert_eq!(deallocated(sql.as_bytes()).as_deref(), name, "{sql}");
    }

    #[test]
    fn only_a_lone_deallocate_of_a_name_counts() {
        check("DEALLOCATE a", Some("a"));
        check(" deallocate /* x */ prepare A ; ", Some("a"));
        check("DEALLOCATE \"_pg3_\"\"0\"", Some("_pg3_\"0"));
        check("DEALLOCATE ALL", None);
        check("DEALLOCATE a; SELECT 1", None);
        check("SELECT 1", None);
        check("DEALLOCATE", None);
        check("", None);
    }
}
