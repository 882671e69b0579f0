//! What a node's `/metrics` says, as far as rates and quantiles are made of it.

use std::collections::BTreeMap;

/// Series of one look, added up over their labels.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Metrics {
    sums: BTreeMap<String, f64>,
    /// For each histogram how many were at most so large, by bound.
    buckets: BTreeMap<String, Vec<(f64, f64)>>,
}

impl Metrics {
    /// Reads OpenMetrics text. Lines that make no sense are passed over: another version may say more.
    pub(super) fn parse(text: &str) -> Self {
        let mut out = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, value)) = line.rsplit_once(' ') else {
                continue;
            };
            let Ok(value) = value.parse::<f64>() else { continue };
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            match (name.strip_suffix("_bucket"), bound(labels)) {
                (Some(histogram), Some(bound)) => out.add_bucket(histogram, bound, value),
                _ => *out.sums.entry(name.to_owned()).or_default() += value,
            }
        }
        out
    }

    fn add_bucket(&mut self, name: &str, bound: f64, value: f64) {
        let buckets = self.buckets.entry(name.to_owned()).or_default();
        match buckets
            .iter_mut()
            .find(|(known, _)| known.total_cmp(&bound).is_eq())
        {
            Some((_, count)) => *count += value,
            None => buckets.push((bound, value)),
        }
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    }

    /// All series of a name together.
    pub(super) fn sum(&self, name: &str) -> Option<f64> {
        self.sums.get(name).copied()
    }

    /// How much a counter has grown since `before`. A counter that is not there yet counts as 0; `None`: the node was started
    /// again in between.
    pub(super) fn growth(&self, before: &Self, name: &str) -> Option<f64> {
        let grown = self.sum(name).unwrap_or(0.0) - before.sum(name).unwrap_or(0.0);
        (grown >= 0.0).then_some(grown)
    }

    /// What so large a part of everything since `before` was below, by linear interpolation between bounds as
    /// Prometheus does it; `None` if there was nothing.
    pub(super) fn quantile(&self, before: &Self, name: &str, part: f64) -> Option<f64> {
        let now = self.buckets.get(name)?;
        let earlier = before.buckets.get(name).map(Vec::as_slice).unwrap_or_default();
        let since = now.iter().map(|(bound, count)| {
            let was = earlier.iter().find(|(known, _)| known.total_cmp(bound).is_eq());
            (*bound, count - was.map_or(0.0, |(_, count)| *count))
        });
        let since: Vec<(f64, f64)> = since.collect();
        let total = since.last()?.1;
        if total <= 0.0 {
            return None;
        }
        let rank = total * part;
        let (mut low, mut below) = (0.0, 0.0);
        for (bound, count) in since {
            if count >= rank && count > below {
                return Some(if bound.is_finite() {
                    low + (bound - low) * (rank - below) / (count - below)
                } else {
                    low
                });
            }
            (low, below) = (bound, count);
        }
        None
    }
}

/// The bound of a bucket.
fn bound(labels: &str) -> Option<f64> {
    let (_, rest) = labels.split_once("le=\"")?;
    let (bound, _) = rest.split_once('"')?;
    match bound {
        "+Inf" => Some(f64::INFINITY),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "\
# TYPE concord_reads counter
concord_reads_total{consistency=\"strong\"} 5
concord_reads_total{consistency=\"eventual\"} 2
concord_write_seconds_bucket{le=\"1.0\",operation=\"put\"} 10
concord_write_seconds_bucket{le=\"2.0\",operation=\"put\"} 10
concord_write_seconds_bucket{le=\"+Inf\",operation=\"put\"} 10
concord_write_seconds_count{operation=\"put\"} 10
# EOF
";

    #[test]
    fn series_are_added_up_over_their_labels() {
        let metrics = Metrics::parse(BEFORE);
        assert_eq!(metrics.sum("concord_reads_total"), Some(7.0));
        assert_eq!(metrics.sum("concord_write_seconds_count"), Some(10.0));
        assert_eq!(metrics.sum("concord_write_seconds_bucket"), None);
        assert_eq!(
            metrics.growth(&Metrics::default(), "concord_reads_total"),
            Some(7.0)
        );
        assert_eq!(
            Metrics::default().growth(&metrics, "concord_reads_total"),
            None,
            "started again"
        );
    }

    #[test]
    fn quantiles_are_of_what_came_in_between() {
        let before = Metrics::parse(BEFORE);
        let now = BEFORE
            .replace(
                "le=\"2.0\",operation=\"put\"} 10",
                "le=\"2.0\",operation=\"put\"} 14",
            )
            .replace(
                "le=\"+Inf\",operation=\"put\"} 10",
                "le=\"+Inf\",operation=\"put\"} 14",
            );
        let now = Metrics::parse(&now);
        // All four between 1 and 2.
        assert_eq!(now.quantile(&before, "concord_write_seconds", 0.5), Some(1.5));
        assert_eq!(now.quantile(&before, "concord_write_seconds", 1.0), Some(2.0));
        assert_eq!(
            now.quantile(&now, "concord_write_seconds", 0.5),
            None,
            "nothing happened"
        );
        assert_eq!(now.quantile(&before, "concord_absent", 0.5), None);
    }

    #[test]
    fn text_that_makes_no_sense_is_passed_over() {
        let odd = Metrics::parse("a\nb{ 1\nc x\n\nd{le=\"y\"} 1\ne_bucket{le=\"\"} 2\n{} 3\nf 1 2");
        assert_eq!(odd.sum("b"), Some(1.0));
        assert_eq!(odd.sum("c"), None);
    }
}
