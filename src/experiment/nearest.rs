//! The known word that somebody probably meant.

/// The nearest of the known words by Damerau–Levenshtein distance, if it is near enough to be meant.
///
/// Near enough is one edit for every three characters, at least one; a prefix of three characters counts too
/// (`exp` for `exponential`). Of equally near words the first wins.
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let normal = |word: &str| word.to_lowercase().replace(['-', ' '], "_");
    // Beyond this nothing is near, and the distance of two long texts costs their product.
    if wrong.len() > 100 {
        return None;
    }
    let wrong = normal(wrong);
    let enough = (wrong.chars().count() / 3).max(1);
    known
        .into_iter()
        .filter(|known| known.len() <= 100)
        .map(|known| {
            let other = normal(known);
            let prefix = wrong.len() >= 3 && other.starts_with(&wrong);
            (if prefix { enough } else { strsim::damerau_levenshtein(&wrong, &other) }, known)
        })
        // All of a word replaced is another word.
        .filter(|(distance, _)| *distance <= enough && *distance < wrong.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_the_one_meant() {
        let known = ["primary", "standby", "gateway", "exponential", "attempt_timeout"];
        for (wrong, meant) in [
            ("primry", Some("primary")),
            ("pirmary", Some("primary")),
            ("Standby", Some("standby")),
            ("exp", Some("exponential")),
            ("attempt-timeout", Some("attempt_timeout")),
            ("attemptTimeout", Some("attempt_timeout")),
            ("zone", None),
            ("", None),
        ] {
            assert_eq!(nearest(wrong, known), meant, "{wrong}");
        }
    }
}
