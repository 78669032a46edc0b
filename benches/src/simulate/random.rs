//! Chance in a run: every draw follows from the printed seed.

/// The finisher of SplitMix64: a bijection that spreads every input bit over the output.
pub fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A number in 0..1 from 64 random bits.
pub fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// A normal deviate (mean 0, deviation 1) from two draws in 0..1.
pub fn normal(first: f64, second: f64) -> f64 {
    (-2.0 * (1.0 - first).ln()).sqrt() * (std::f64::consts::TAU * second).cos()
}

/// A stream of SplitMix64; not for secrets.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    #[inline]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number in `0..bound`; the bias is below `bound` / 2^64.
    #[inline]
    pub fn below(&mut self, bound: u32) -> u32 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u32
    }

    #[inline]
    pub fn chance(&mut self, share: f64) -> bool {
        share > 0.0 && unit(self.next()) < share
    }
}

/// Draws ranks 0.. with weights 1 / (rank + 1)^alpha: Walker's alias table, one look-up a draw.
#[derive(Debug)]
pub struct Zipf {
    /// Of the 2^32 points of a column, those below the first number are its own rank, the others the second.
    columns: Vec<(u32, u32)>,
}

impl Zipf {
    pub fn new(ranks: u32, alpha: f64) -> Self {
        let weights: Vec<f64> = (1..=ranks).map(|rank| f64::from(rank).powf(-alpha)).collect();
        let scale = f64::from(ranks) / weights.iter().sum::<f64>();
        let mut shares: Vec<f64> = weights.into_iter().map(|weight| weight * scale).collect();
        let mut columns: Vec<(u32, u32)> = (0..ranks).map(|rank| (u32::MAX, rank)).collect();
        let (mut scarce, mut rich): (Vec<u32>, Vec<u32>) = (0..ranks).partition(|&rank| shares[rank as usize] < 1.0);
        while let (Some(&poor), Some(&donor)) = (scarce.last(), rich.last()) {
            scarce.pop();
            columns[poor as usize] = ((shares[poor as usize] * f64::from(u32::MAX)) as u32, donor);
            shares[donor as usize] -= 1.0 - shares[poor as usize];
            if shares[donor as usize] < 1.0 {
                rich.pop();
                scarce.push(donor);
            }
        }
        Self { columns }
    }

    #[inline]
    pub fn draw(&self, random: &mut Random) -> u32 {
        let wide = u128::from(random.next()) * self.columns.len() as u128;
        let column = (wide >> 64) as u32;
        let (bound, other) = self.columns[column as usize];
        // The low half of the product is uniform within the column.
        if ((wide as u64 >> 32) as u32) < bound { column } else { other }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_come_with_their_weights() {
        let (zipf, mut random) = (Zipf::new(100, 1.0), Random::new(5));
        let mut counts = [0u32; 100];
        (0..1_000_000).for_each(|_| counts[zipf.draw(&mut random) as usize] += 1);
        let total: f64 = (1..=100).map(|rank| 1.0 / f64::from(rank)).sum();
        for (rank, count) in counts.into_iter().enumerate() {
            let expected = 1e6 / (rank + 1) as f64 / total;
            assert!(
                (f64::from(count) - expected).abs() < 6.0 * expected.sqrt(),
                "rank {rank}: {count} of {expected:.0}"
            );
        }
    }

    #[test]
    fn normal_deviates_have_mean_0_and_deviation_1() {
        let mut random = Random::new(6);
        let draws: Vec<f64> = (0..100_000).map(|_| normal(unit(random.next()), unit(random.next()))).collect();
        let mean = draws.iter().sum::<f64>() / 1e5;
        let variance = draws.iter().map(|draw| (draw - mean).powi(2)).sum::<f64>() / 1e5;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.03, "{mean} {variance}");
    }
}
