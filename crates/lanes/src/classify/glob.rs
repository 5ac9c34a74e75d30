//! Name patterns: `*` for any run of characters, `?` for one, everything else for itself.

/// A case-sensitive pattern over names. Matching takes time linear in the name for each `*`, never exponential, and
/// allocates nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Glob {
    pattern: String,
}

impl Glob {
    /// A pattern as written. Every text is one.
    #[must_use]
    pub fn new(pattern: impl Into<String>) -> Self {
        Self {
            pattern: pattern.into(),
        }
    }

    /// The pattern as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.pattern
    }

    /// Whether the whole name matches.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        matches_with(&self.pattern, name, |wanted, found| {
            wanted == '?' || wanted == found
        })
    }

    /// Whether this pattern surely matches every name that `narrower` matches. May say no where the truth is yes.
    #[must_use]
    pub fn covers(&self, narrower: &Self) -> bool {
        // The narrower pattern is read as a name: its `*` can then only be swallowed by a `*`, its `?` by `?` or `*`.
        matches_with(&self.pattern, &narrower.pattern, |wanted, found| {
            found != '*' && (wanted == '?' || (wanted == found && found != '?'))
        })
    }
}

/// Greedy matching that goes back to the last `*` only: an earlier one never has to give more, because the later one can
/// take whatever is left.
fn matches_with(pattern: &str, name: &str, one: impl Fn(char, char) -> bool) -> bool {
    let (mut pattern_at, mut name_at) = (0, 0);
    let mut resume: Option<(usize, usize)> = None;
    while let Some(found) = name[name_at..].chars().next() {
        match pattern[pattern_at..].chars().next() {
            Some('*') => {
                pattern_at += 1;
                resume = Some((pattern_at, name_at));
            }
            Some(wanted) if one(wanted, found) => {
                pattern_at += wanted.len_utf8();
                name_at += found.len_utf8();
            }
            _ => {
                let Some((after_star, taken_to)) = resume else {
                    return false;
                };
                let Some(taken) = name[taken_to..].chars().next() else {
                    return false;
                };
                name_at = taken_to + taken.len_utf8();
                pattern_at = after_star;
                resume = Some((after_star, name_at));
            }
        }
    }
    pattern[pattern_at..].chars().all(|rest| rest == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, name: &str, expected: bool) {
        assert_eq!(
            Glob::new(pattern).matches(name),
            expected,
            "{pattern} on {name}"
        );
    }

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, name, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "anything", true),
            ("ragchecker*", "ragchecker-7", true),
            ("ragchecker*", "ragchecker", true),
            ("ragchecker*", "my ragchecker", false),
            ("*-eval", "nightly-eval", true),
            ("*-eval", "nightly-eval-2", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("a?c", "aéc", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("a*b*c", "abbbcbc", true),
            ("LTST", "ltst", false),
            ("**", "x", true),
            ("?*", "", false),
        ] {
            check(pattern, name, expected);
        }
    }

    #[test]
    fn a_pattern_of_many_stars_stays_cheap() {
        // Backtracking over every star would take about 2^40 steps here and never return.
        let pattern = "*a".repeat(40) + "b";
        check(&pattern, &"a".repeat(20_000), false);
    }

    #[test]
    fn covering_is_sound() {
        for (broad, narrow, expected) in [
            ("*", "ltst*", true),
            ("ltst*", "ltst-compaction*", true),
            ("ltst-compaction*", "ltst*", false),
            ("ltst", "ltst", true),
            ("l?st", "l*st", false),
            ("l*st", "l?st", true),
            ("a?", "a*", false),
            ("*x*", "axb", true),
        ] {
            assert_eq!(
                Glob::new(broad).covers(&Glob::new(narrow)),
                expected,
                "{broad} over {narrow}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn agrees_with_a_plain_recursive_matcher(pattern in "[ab*?]{0,8}", name in "[ab]{0,8}") {
            fn plain(pattern: &[u8], name: &[u8]) -> bool {
                match (pattern.first(), name.first()) {
                    (None, None) => true,
                    (Some(b'*'), _) => plain(&pattern[1..], name) || (!name.is_empty() && plain(pattern, &name[1..])),
                    (Some(b'?'), Some(_)) => plain(&pattern[1..], &name[1..]),
                    (Some(wanted), Some(found)) if wanted == found => plain(&pattern[1..], &name[1..]),
                    _ => false,
                }
            }
            proptest::prop_assert_eq!(Glob::new(pattern.as_str()).matches(&name), plain(pattern.as_bytes(), name.as_bytes()));
        }

        #[test]
        fn what_covers_matches_more(broad in "[ab*?]{0,5}", narrow in "[ab*?]{0,5}", name in "[ab]{0,6}") {
            let (broad, narrow) = (Glob::new(broad), Glob::new(narrow));
            if broad.covers(&narrow) && narrow.matches(&name) {
                proptest::prop_assert!(broad.matches(&name));
            }
        }
    }
}
