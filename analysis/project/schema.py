"""What the catalogue holds: its tables as they came to be, and the lists that are shown of them."""

from __future__ import annotations

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE networks (
        network TEXT NOT NULL, status TEXT NOT NULL, code TEXT, message TEXT, hint TEXT, file TEXT NOT NULL,
        format TEXT, digest TEXT, architecture TEXT, activation TEXT, parameters BIGINT, lineage TEXT,
        warnings TEXT[], metadata TEXT);
    CREATE TABLE layers (
        network TEXT NOT NULL, layer TEXT NOT NULL, position INTEGER NOT NULL, kind TEXT NOT NULL,
        role TEXT NOT NULL, activation TEXT NOT NULL, units INTEGER NOT NULL, dead INTEGER,
        grid INTEGER NOT NULL, depth DOUBLE NOT NULL);
    CREATE TABLE units (
        network TEXT NOT NULL, layer TEXT NOT NULL, unit INTEGER NOT NULL, mean DOUBLE, deviation DOUBLE,
        dead BOOLEAN NOT NULL);
    CREATE TABLE variables (
        variable TEXT NOT NULL, position INTEGER NOT NULL, role TEXT NOT NULL, low DOUBLE, high DOUBLE,
        unit TEXT, formula TEXT);
    CREATE TABLE levels (level TEXT NOT NULL, network TEXT NOT NULL, layer TEXT NOT NULL);
    CREATE TABLE similarities (
        left_network TEXT NOT NULL, left_layer TEXT NOT NULL, right_network TEXT NOT NULL,
        right_layer TEXT NOT NULL, cka DOUBLE);
    CREATE TABLE matches (
        level TEXT NOT NULL, left_network TEXT NOT NULL, left_layer TEXT NOT NULL, left_unit INTEGER NOT NULL,
        right_network TEXT NOT NULL, right_layer TEXT NOT NULL, right_unit INTEGER NOT NULL,
        r DOUBLE, p DOUBLE, q DOUBLE);
    CREATE TABLE nulls (
        level TEXT NOT NULL, null_name TEXT NOT NULL, matches BIGINT, median_r DOUBLE, r95 DOUBLE);
    CREATE TABLE features (
        feature TEXT NOT NULL, number INTEGER NOT NULL, level TEXT NOT NULL, role TEXT NOT NULL, name TEXT,
        unit TEXT, members INTEGER NOT NULL, networks INTEGER NOT NULL, lineages INTEGER NOT NULL,
        universality DOUBLE, agreement DOUBLE, support DOUBLE, reliability DOUBLE, lift DOUBLE, p DOUBLE,
        q DOUBLE, above_null BOOLEAN NOT NULL);
    CREATE TABLE members (
        feature TEXT NOT NULL, network TEXT NOT NULL, layer TEXT NOT NULL, unit INTEGER NOT NULL,
        sign INTEGER NOT NULL, r DOUBLE);
    CREATE TABLE equations (
        equation TEXT NOT NULL, number INTEGER NOT NULL, feature TEXT NOT NULL, target TEXT NOT NULL,
        unit TEXT, status TEXT NOT NULL, reason TEXT, expression TEXT, latex TEXT, skeleton TEXT,
        complexity INTEGER, fidelity DOUBLE, peer_ratio DOUBLE, peer_ratio_error DOUBLE, peer_agreement DOUBLE,
        extrapolation DOUBLE, peer_extrapolation DOUBLE, networks INTEGER, lineages INTEGER,
        universality DOUBLE, engine TEXT);
    CREATE TABLE fronts (
        equation TEXT NOT NULL, complexity INTEGER NOT NULL, expression TEXT NOT NULL, error DOUBLE,
        peer_ratio DOUBLE, peer_ratio_error DOUBLE, chosen BOOLEAN NOT NULL);
    CREATE TABLE constants (
        equation TEXT NOT NULL, position INTEGER NOT NULL, name TEXT NOT NULL, value DOUBLE, spread DOUBLE,
        low DOUBLE, high DOUBLE, exact DOUBLE);
    CREATE TABLE agreements (equation TEXT NOT NULL, lineage TEXT NOT NULL, fidelity DOUBLE, peer_ratio DOUBLE);
    CREATE TABLE relevances (
        equation TEXT NOT NULL, variable TEXT NOT NULL, effect DOUBLE, kept BOOLEAN NOT NULL);
    CREATE TABLE stages (stage TEXT NOT NULL, subject TEXT NOT NULL, key TEXT NOT NULL, settings TEXT);
    """,
    """
    ALTER TABLE layers DROP COLUMN grid;
    ALTER TABLE layers ADD COLUMN positions INTEGER;
    ALTER TABLE layers ADD COLUMN axes TEXT[];
    CREATE TABLE kinships (
        network TEXT NOT NULL, relative TEXT NOT NULL, relation TEXT NOT NULL, similarity DOUBLE,
        evidence TEXT NOT NULL, counted BOOLEAN NOT NULL);
    DELETE FROM stages WHERE stage IN ('ingest', 'probe');
    """,
    """
    ALTER TABLE nulls ADD COLUMN passed DOUBLE;
    ALTER TABLE features ADD COLUMN kind TEXT;
    ALTER TABLE members ALTER COLUMN unit DROP NOT NULL;
    ALTER TABLE members ADD COLUMN weights DOUBLE[];
    """,
    """
    ALTER TABLE equations ADD COLUMN terms TEXT;
    ALTER TABLE equations ADD COLUMN linked BOOLEAN;
    ALTER TABLE equations ADD COLUMN stability DOUBLE;
    ALTER TABLE equations ADD COLUMN gradient_agreement DOUBLE;
    ALTER TABLE constants ADD COLUMN shared BOOLEAN;
    CREATE TABLE own_constants (
        equation TEXT NOT NULL, position INTEGER NOT NULL, name TEXT NOT NULL, lineage TEXT NOT NULL, value DOUBLE);
    CREATE TABLE links (equation TEXT NOT NULL, lineage TEXT NOT NULL, kind TEXT NOT NULL, parameters DOUBLE[]);
    CREATE TABLE dissenters (equation TEXT NOT NULL, lineage TEXT NOT NULL, ratio DOUBLE, p DOUBLE);
    CREATE TABLE substitutions (
        equation TEXT NOT NULL, network TEXT NOT NULL, loss TEXT NOT NULL, loss_before DOUBLE, loss_with DOUBLE,
        loss_mean DOUBLE, loss_ablated DOUBLE, note TEXT);
    CREATE TABLE rivals (
        equation TEXT NOT NULL, expression TEXT NOT NULL, complexity INTEGER, ratio DOUBLE, status TEXT NOT NULL,
        inputs TEXT);
    """,
    """
    ALTER TABLE features ADD COLUMN detector TEXT;
    CREATE TABLE kernels (
        network TEXT NOT NULL, layer TEXT NOT NULL, unit INTEGER NOT NULL, form TEXT NOT NULL, detector TEXT NOT NULL,
        expression TEXT NOT NULL, r2 DOUBLE, null_95 DOUBLE, percentile DOUBLE, explained BOOLEAN NOT NULL,
        fidelity DOUBLE, angle DOUBLE, frequency DOUBLE, colour TEXT, colour_axis DOUBLE[]);
    CREATE TABLE tunings (
        network TEXT NOT NULL, layer TEXT NOT NULL, unit INTEGER NOT NULL, detector TEXT NOT NULL, angle DOUBLE,
        frequency DOUBLE, phase DOUBLE, selectivity DOUBLE, orthogonal DOUBLE, f1_f0 DOUBLE, modulation DOUBLE,
        half_width DOUBLE, bandwidth DOUBLE, separability DOUBLE, colour DOUBLE, aliased BOOLEAN,
        receptive_field INTEGER, stride DOUBLE);
    CREATE TABLE laws (
        network TEXT NOT NULL, layer TEXT NOT NULL, unit INTEGER NOT NULL, stimulus TEXT NOT NULL,
        coordinate TEXT NOT NULL, law TEXT NOT NULL, expression TEXT NOT NULL, r2 DOUBLE, reduced BOOLEAN NOT NULL);
    CREATE TABLE detectors (
        network TEXT NOT NULL, layer TEXT NOT NULL, detector TEXT NOT NULL, units INTEGER NOT NULL,
        of_units INTEGER NOT NULL, null_units INTEGER, of_null INTEGER, p DOUBLE, above_null BOOLEAN NOT NULL);
    CREATE TABLE coverages (feature TEXT NOT NULL, network TEXT NOT NULL, share DOUBLE, null_share DOUBLE);
    CREATE TABLE kernel_substitutions (
        network TEXT NOT NULL, layer TEXT NOT NULL, kind TEXT NOT NULL, agreement DOUBLE, confident DOUBLE, r2 DOUBLE,
        correlation DOUBLE, cosine DOUBLE, response DOUBLE, images INTEGER, sure INTEGER);
    """,
    """
    ALTER TABLE equations ADD COLUMN searched TEXT;
    """,
    """
    ALTER TABLE detectors ADD COLUMN q DOUBLE;
    ALTER TABLE detectors ADD COLUMN parts TEXT;
    ALTER TABLE detectors ADD COLUMN law TEXT;
    ALTER TABLE detectors ADD COLUMN following INTEGER;
    """,
    """
    ALTER TABLE laws ADD COLUMN suppression DOUBLE;
    """,
    """
    ALTER TABLE kernel_substitutions ADD COLUMN units INTEGER;
    ALTER TABLE kernel_substitutions ADD COLUMN numbers INTEGER;
    """,
)
"""Append only. Each is run once, in one transaction, after a backup; the schema version counts them."""

LISTS: dict[str, tuple[str, str]] = {
    "networks": ("SELECT * FROM networks", "network"),
    "layers": (
        "SELECT layers.*, levels.level FROM layers LEFT JOIN levels USING (network, layer)",
        "network, position",
    ),
    "features": ("SELECT * EXCLUDE (number), number FROM features", "left(feature, 1), number"),
    "equations": ("SELECT * EXCLUDE (number, latex), number FROM equations", "left(feature, 1), number"),
    "matches": ("SELECT * FROM matches", "q, r DESC, left_network, left_unit, right_network, right_unit"),
    "kinships": ("SELECT * FROM kinships", "network, relative"),
}
"""What the list commands show, and in which order."""

STAGES_ABOUT = {"network": ("ingest", "probe"), "equation": ("distil",)}
"""Stages that note what they indexed under the name of one network or equation."""
