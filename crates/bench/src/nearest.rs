//! The known name that is nearest to a mistyped one.

/// The one of `known` that takes the fewest changes; empty if there is none.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> &'a str {
    known
        .into_iter()
        .min_by_key(|known| distance(name, known))
        .unwrap_or_default()
}

/// `; did you mean …?`, or nothing if nothing is known.
pub(crate) fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    match nearest(name, known) {
        "" => String::new(),
        nearest => format!("; did you mean {nearest}?"),
    }
}

/// Levenshtein's distance. Names that no one would type are not compared to the end.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().take(100).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let cost = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fewest_changes_win() {
        let known = ["clients", "ramp", "arrivals"];
        assert_eq!(nearest("client", known), "clients");
        assert_eq!(nearest("arivals", known), "arrivals");
        assert_eq!(nearest("x", []), "");
        assert_eq!(did_you_mean("rmap", known), "; did you mean ramp?");
        assert_eq!(did_you_mean("x", []), "");
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
