//! The known name that an unknown one most resembles.

/// The candidate with the smallest edit distance to `unknown`.
pub(crate) fn nearest<S: AsRef<str>>(
    unknown: &str,
    candidates: impl IntoIterator<Item = S>,
) -> Option<S> {
    // A hostile or mistaken input may be long; what is beyond this cannot resemble a name.
    let unknown: Vec<char> = unknown.chars().take(128).collect();
    candidates
        .into_iter()
        .min_by_key(|candidate| distance(&unknown, candidate.as_ref()))
}

/// The Levenshtein distance: insertions, deletions and substitutions, each counted as one.
fn distance(left: &[char], right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, r) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(l != r);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_edits() {
        for (left, right, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
            ("prot", "port", 2),
            ("server.prot", "server.port", 2),
        ] {
            let left: Vec<char> = left.chars().collect();
            assert_eq!(distance(&left, right), expected, "{left:?} {right}");
        }
    }

    #[test]
    fn picks_the_closest() {
        assert_eq!(nearest("hots", ["port", "host", "path"]), Some("host"));
        assert_eq!(nearest::<&str>("x", []), None);
    }
}
