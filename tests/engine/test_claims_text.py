"""What a report claims: sentences of radiology English, the simulator's wording, bad input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.engine.text.claims import Assertion, abstains, extract_claims, findings_of, known_findings
from synthetic.simulator import SimulatorSettings
from synthetic.simulator.patients import draw_studies
from synthetic.simulator.settings import FINDINGS
from synthetic.simulator.texts import write_references

SIGNS = {"+": Assertion.PRESENT, "?": Assertion.UNCERTAIN, "-": Assertion.ABSENT}

# Written before the rules were run on them. "name+": present, "name?": uncertain, "name-": absent. What a sentence
# clears beside (lungs are clear) is listed with "...", which allows further findings that are absent.
HELD_OUT = {
    "Heart size is within normal limits.": "cardiomegaly-",
    "The cardiac silhouette is moderately enlarged.": "cardiomegaly+",
    "Cardiomegaly is stable.": "cardiomegaly+",
    "Borderline heart size.": "cardiomegaly?",
    "The heart is not enlarged.": "cardiomegaly-",
    "Heart and mediastinum are unremarkable.": "cardiomegaly- ...",
    "No focal consolidation, pleural effusion, or pneumothorax.": "consolidation- effusion- pneumothorax-",
    "No focal consolidation, large effusion or pneumothorax is seen.": "consolidation- effusion- pneumothorax-",
    "There is no evidence of pneumothorax.": "pneumothorax-",
    "No pneumothorax, small right pleural effusion.": "pneumothorax- effusion+",
    "No pneumothorax but there is a small left effusion.": "pneumothorax- effusion+",
    "Small bilateral pleural effusions with bibasilar atelectasis.": "effusion+ atelectasis+",
    "Without significant change in the right pleural effusion.": "effusion+",
    "No change in the moderate left effusion.": "effusion+",
    "No significant interval change in cardiomegaly.": "cardiomegaly+",
    "Cannot exclude pneumonia.": "pneumonia?",
    "Underlying pneumonia cannot be excluded.": "pneumonia?",
    "Right basilar opacity may represent atelectasis or pneumonia.": "opacity+ atelectasis? pneumonia?",
    "Left lower lobe opacity, atelectasis versus pneumonia.": "opacity+ atelectasis? pneumonia?",
    "Possible small right pneumothorax.": "pneumothorax?",
    "Findings are concerning for pneumonia.": "pneumonia?",
    "No opacity suspicious for pneumonia.": "opacity- pneumonia-",
    "No findings to suggest pulmonary edema.": "edema-",
    "Pulmonary oedema has resolved.": "edema-",
    "The pneumothorax is no longer seen.": "pneumothorax-",
    "Interval resolution of the left pleural effusion.": "effusion-",
    "The effusion has not resolved.": "effusion+",
    "Pneumothorax is not identified.": "pneumothorax-",
    "The heart is enlarged and pneumothorax is not seen.": "cardiomegaly+ pneumothorax-",
    "Neither pleural effusion nor pneumothorax is seen.": "effusion- pneumothorax-",
    "Negative for pneumothorax.": "pneumothorax-",
    "The lungs are free of consolidation.": "consolidation-",
    "Lungs are clear.": "consolidation- pneumonia- ...",
    "The lungs are clear of focal infiltrate.": "infiltration-",
    "Clear lungs with normal heart size.": "consolidation- cardiomegaly- ...",
    "No acute cardiopulmonary abnormality.": "pneumonia- effusion- pneumothorax- ...",
    "Costophrenic angles are sharp.": "effusion-",
    "Blunting of the left costophrenic angle.": "effusion?",
    "Old healed rib fractures on the right.": "fracture+",
    "No acute displaced rib fracture.": "fracture-",
    "Osseous structures are intact.": "fracture-",
    "Large hiatal hernia.": "hernia+",
    "Biapical pleural thickening.": "pleural_thickening+",
    "Emphysematous changes in both upper lobes.": "emphysema+",
    "The lungs are hyperinflated with flattened diaphragms.": "hyperinflation+",
    "8 mm nodule in the right upper lobe.": "nodule+",
    "No suspicious pulmonary nodules or masses.": "nodule- mass-",
    "Spiculated mass in the left hilum, suspicious for malignancy.": "mass+ malignancy?",
    "Chronic interstitial fibrosis is unchanged.": "fibrosis+",
    "Right internal jugular catheter tip in the superior vena cava.": "support_device+",
    "Endotracheal tube has been removed.": "support_device-",
    "Dense airspace opacification of the right middle lobe consistent with pneumonia.": "opacity+ pneumonia+",
    "History of pneumonia.": "",
    "Patient with history of heart failure, now with bilateral effusions.": "effusion+",
    "There is mild cardiomegaly and a small effusion is not excluded.": "cardiomegaly+ effusion?",
    "Cardiac silhouette is at the upper limits of normal in size.": "cardiomegaly?",
    "Subsegmental atelectasis at the left base; otherwise no focal airspace disease.": "atelectasis+ opacity-",
    "There is a small effusion, no pneumothorax.": "effusion+ pneumothorax-",
    "Pneumonia is unlikely.": "pneumonia?",
    "Resolving right lower lobe consolidation.": "consolidation+",
    "Hydropneumothorax on the left.": "effusion+ pneumothorax+",
    "No free air under the diaphragm.": "free_air-",
    "Subcutaneous emphysema along the left chest wall.": "subcutaneous_emphysema+",
    "Mild pulmonary vascular congestion without overt edema.": "congestion+ edema-",
    "Yes, there is a pleural effusion.": "effusion+",
    "No, there is no pneumothorax.": "pneumothorax-",
    "No, the image does not show a pneumothorax.": "pneumothorax-",
    "I do not see any evidence of consolidation.": "consolidation-",
    "There does not appear to be a pneumothorax.": "pneumothorax-",
    "The patient does not have pneumonia.": "pneumonia-",
    "The chest X-ray shows no signs of pulmonary edema.": "edema-",
    "The image shows an enlarged heart.": "cardiomegaly+",
    "No definite evidence of pneumothorax is seen on this study.": "pneumothorax-",
    "The heart does not appear enlarged.": "cardiomegaly-",
    "The cardiac silhouette is not significantly enlarged.": "cardiomegaly-",
    "The lungs show no focal opacity.": "opacity-",
    "Lungs are well expanded and clear.": "consolidation- pneumonia- ...",
    "Neither lung shows consolidation.": "consolidation-",
    "There is a small left pleural effusion without pneumothorax.": "effusion+ pneumothorax-",
    "Right pleural effusion, moderate in size; no pneumothorax on either side.": "effusion+ pneumothorax-",
    "Effusion is present on the right but not on the left.": "effusion+",
    "No evidence of pneumonia or congestive heart failure.": "pneumonia- congestion-",
    "Pneumonia has been ruled out.": "pneumonia-",
    "No large effusion, although a small effusion may be present.": "effusion?",
    "The previously seen pneumothorax has resolved.": "pneumothorax-",
    "The pneumothorax has nearly resolved.": "pneumothorax+",
    "There is no longer a pleural effusion.": "effusion-",
    "The absence of pleural effusion is reassuring.": "effusion-",
    "Hazy opacity at the left base, most likely atelectasis.": "opacity+ atelectasis?",
    "Bibasilar atelectasis, and no evidence of pneumothorax or effusion.": "atelectasis+ pneumothorax- effusion-",
    "Atelectasis is seen at the bases. No consolidation.": "atelectasis+ consolidation-",
    "Chronic obstructive pulmonary disease without acute infiltrate.": "copd+ infiltration-",
    "No acute infiltrate or effusion; stable cardiomegaly.": "infiltration- effusion- cardiomegaly+",
    "Heart size is normal and the lungs are clear.": "cardiomegaly- consolidation- ...",
    "The heart is mildly enlarged but stable, and there is no edema.": "cardiomegaly+ edema-",
    "Minimal blunting of the costophrenic angles, possibly small effusions.": "effusion?",
    "Central line tip in the SVC without pneumothorax.": "support_device+ pneumothorax-",
    "Post surgical changes without pneumothorax or hemothorax.": "pneumothorax- effusion-",
    "No pulmonary nodule, mass, or cavity.": "nodule- mass- cavity-",
    "A calcified granuloma is present; no suspicious nodule.": "granuloma+ nodule-",
    "Rule out pneumothorax.": "pneumothorax?",
    "There is consolidation in the right lower lobe, which is consistent with pneumonia.": "consolidation+ pneumonia+",
    "Opacities have increased, suggesting worsening edema rather than pneumonia.": "opacity+ edema? pneumonia-",
    "Not enlarged heart, not clear lungs.": "cardiomegaly-",
    "Fractures of the left fourth and fifth ribs are noted, no pneumothorax.": "fracture+ pneumothorax-",
    "The mediastinum is widened, but the heart is of normal size.": "mediastinal_widening+ cardiomegaly-",
    "The endotracheal tube is malpositioned in the right mainstem bronchus.": "support_device+ misplaced_device+",
    "Emphysema without bullae; no fibrosis.": "emphysema+ bulla- fibrosis-",
    "Pleural effusion cannot be entirely excluded, but none is seen.": "effusion?",
    "If there is clinical concern for pneumonia, repeat imaging is advised.": "pneumonia?",
    "Large right pneumothorax with mediastinal shift, no hemothorax.": "pneumothorax+ effusion-",
    "No pneumothorax or effusion, mild atelectasis at the left base.": "pneumothorax- effusion- atelectasis+",
    "Without evidence for failure or infiltrate.": "infiltration-",
    "Hyperinflated lungs without consolidation, effusion or edema.": "hyperinflation+ consolidation- effusion- edema-",
    "No hiatal hernia. Cardiomegaly noted.": "hernia- cardiomegaly+",
    "The trachea is midline, there is no mass, and both costophrenic angles are sharp.": "mass- effusion-",
    "Resolved pneumonia; residual scarring.": "pneumonia- scar+",
}


def expected(text: str) -> tuple[dict[str, Assertion], bool]:
    words = text.split()
    named = {word[:-1]: SIGNS[word[-1]] for word in words if word != "..."}
    return named, "..." in words


def agrees(sentence: str) -> bool:
    named, open_ended = expected(HELD_OUT[sentence])
    said = findings_of(sentence)
    rest = {name: value for name, value in said.items() if name not in named}
    return {name: said.get(name) for name in named} == named and (
        all(value is Assertion.ABSENT for value in rest.values()) if open_ended else not rest
    )


# Sentences that showed a gap when they were first tried, or a rule that must not be lost.
WORKED_ON = {
    "Is there a pneumothorax?": {"pneumothorax": "?"},
    "Is there no effusion? Small effusion.": {"effusion": "+"},
    "Small effusion? Cardiomegaly.": {"effusion": "?", "cardiomegaly": "+"},
    "PNEUMOTHORAX: none. EFFUSION: small.": {"pneumothorax": "-", "effusion": "+"},
    "Effusion: absent": {"effusion": "-"},
    "The heart is large.": {"cardiomegaly": "+"},
    "Increased cardiac size.": {"cardiomegaly": "+"},
    "Subtle opacity at the right base could reflect early infection.": {"opacity": "+", "pneumonia": "?"},
    "No evidence of active disease.": {"consolidation": "-", "pneumonia": "-"},
    "INDICATION: Rule out pneumonia. FINDINGS: The heart is normal.": {"cardiomegaly": "-", "pneumonia": None},
    "Indication: pneumonia.\nThere may be a trace effusion.": {"pneumonia": None, "effusion": "?"},
    "Comparison: radiograph with pneumothorax. Findings: small effusion.": {"pneumothorax": None, "effusion": "+"},
    "Lungs are not clear.": {"consolidation": None},
    "No effusion\nCardiomegaly": {"effusion": "-", "cardiomegaly": "+"},
    "- No effusion\n- Pneumothorax": {"effusion": "-", "pneumothorax": "+"},
    "No effusion or\npneumothorax.": {"effusion": "-", "pneumothorax": "-"},
    "NO EFFUSION OR\nPNEUMOTHORAX": {"effusion": "-", "pneumothorax": "-"},
    "Atelectasis vs. pneumonia.": {"atelectasis": "?", "pneumonia": "?"},
    "No effusion. Small effusion on the left.": {"effusion": "+"},
    "Possible effusion. No effusion.": {"effusion": "?"},
    "Port-a-cath in place.": {"support_device": "+"},
    "No mass effect.": {"mass": None},
    "Subcutaneous emphysema.": {"emphysema": None, "subcutaneous_emphysema": "+"},
    "A 1.5 cm nodule.": {"nodule": "+"},
    "A massive effusion": {"mass": None, "effusion": "+"},
    "Rule out pneumonia.": {"pneumonia": "?"},
    "Pericardial effusion.": {"effusion": None},
    "Residuals of prior granulomatous infection.": {"pneumonia": None, "granuloma": "+"},
    "A pneumonia superimposed on emphysema would be a consideration.": {"pneumonia": "?"},
    "Age-indeterminate rib fracture.": {"fracture": "+"},
    "Nondisplaced fractures may not be demonstrated.": {"fracture": "?"},
    "In the appropriate clinical setting this is compatible with pneumonia.": {"pneumonia": "?"},
    "Complete collapse of the left lung.": {"atelectasis": "+"},
    "Cystic fibrosis.": {"fibrosis": None},
    "There aren't any pleural effusions.": {"effusion": "-"},
    "There isn't a pneumothorax.": {"pneumothorax": "-"},
    "Pneumonia could not be excluded.": {"pneumonia": "?"},
    "Clear lungs, no effusion, normal heart.": {"consolidation": "-", "effusion": "-", "cardiomegaly": "-"},
    "Pneumothorax: No. Effusion: Yes. Cardiomegaly: absent.": {
        "pneumothorax": "-",
        "effusion": "+",
        "cardiomegaly": "-",
    },
    "Evaluation for pneumothorax is limited.": {"pneumothorax": "?"},
    "No pneumothorax or large pleural effusion.": {"pneumothorax": "-", "effusion": "-"},
    "Lungs are without consolidation, large effusion or pneumothorax.": {"effusion": "-", "pneumothorax": "-"},
    "No large effusion or visualized pneumothorax.": {"effusion": "-", "pneumothorax": "-"},
    "There is no consolidation, effusion, or pneumothorax seen.": {"consolidation": "-", "pneumothorax": "-"},
    "Probable small effusion.": {"effusion": "+"},
    "Atelectasis and/or infiltrate at the left base.": {"atelectasis": "+", "infiltration": "+"},
    "Borderline enlarged heart.": {"cardiomegaly": "+"},
    "Differential diagnosis includes atelectasis, small infiltrate, scar.": {"infiltration": "?", "scar": "?"},
    "Resolved infection; small effusions suspected.": {"pneumonia": "-", "effusion": "?"},
    "Nodular opacity in the right upper lobe.": {"nodule": None, "nodular_opacity": "+"},
    "Knee effusion.": {"effusion": None},
    "The heart is not dilated, atelectasis at the bases.": {"cardiomegaly": "-", "atelectasis": "+"},
    "Opacity from resolved pneumonia.": {"opacity": "+", "pneumonia": "-"},
    "There is effusion and pneumothorax is not seen.": {"effusion": "+", "pneumothorax": "-"},
    "Opacities within the bases of both lungs, of an unknown cause versus atelectasis.": {"opacity": "+"},
    "Almost completely resolved pneumothorax.": {"pneumothorax": "+"},
    "A 9 mm nodule, not seen on prior exams.": {"nodule": "+"},
    "Without comparisons, this may represent pneumonia.": {"pneumonia": "?"},
    "Malignancy must be excluded.": {"malignancy": "?"},
    "Infection has to be ruled out.": {"pneumonia": "?"},
    "Pneumonia was ruled out.": {"pneumonia": "-"},
    "?LLL consolidation": {"consolidation": "?"},
    "? small right pneumothorax. No effusion.": {"pneumothorax": "?", "effusion": "-"},
    "Effusion ? pneumonia": {"effusion": "+", "pneumonia": "?"},
    "No collapse or consolidation.": {"atelectasis": "-", "consolidation": "-"},
    "Collapse of the T8 vertebral body.": {"atelectasis": None, "fracture": "+"},
    "Fluid is seen in the right pleural space.": {"effusion": "+"},
    "The cardiothoracic ratio is increased.": {"cardiomegaly": "+"},
    "The pneumothorax has not recurred.": {"pneumothorax": "-"},
    "Cavitating mass in the left apex.": {"mass": "+", "cavity": "+"},
    "The X-ray is unremarkable.": {"effusion": "-", "pneumothorax": "-", "cardiomegaly": "-"},
    "NG tube tip over the right lower lobe bronchus.": {"misplaced_device": "+"},
}


@pytest.mark.parametrize("sentence", HELD_OUT)
def test_sentences_written_before_the_rules_were_run_on_them(sentence: str) -> None:
    assert agrees(sentence), findings_of(sentence)


@pytest.mark.parametrize("sentence", WORKED_ON)
def test_sentences_that_were_worked_on(sentence: str) -> None:
    said = findings_of(sentence)
    for name, sign in WORKED_ON[sentence].items():
        assert said.get(name) == (SIGNS[sign] if sign else None), said


def test_the_simulators_reports_say_exactly_what_is_there() -> None:
    studies = draw_studies(SimulatorSettings(patients=400, seed=9), np.random.default_rng(9))
    texts = write_references(studies)
    assert len(texts) > 600 and any("Resolved" in text for text in texts) and any("New since" in text for text in texts)
    for text, row in zip(texts, studies.present, strict=True):
        wanted = {
            name: Assertion.PRESENT if there else Assertion.ABSENT for name, there in zip(FINDINGS, row, strict=True)
        }
        assert findings_of(text) == wanted, text


def test_no_effusion_and_effusion_differ() -> None:
    assert findings_of("No effusion.") == {"effusion": Assertion.ABSENT}
    assert findings_of("Effusion.") == {"effusion": Assertion.PRESENT}


def test_a_claim_says_where_it_stands() -> None:
    text = "No effusion.  Small nodule in the LEFT lung.\n\nThe Heart is Enlarged."
    claims = extract_claims(text)
    assert [text[item.start : item.end] for item in claims] == ["effusion", "nodule", "Enlarged"]
    assert [item.sentence for item in claims] == sorted(item.sentence for item in claims)
    assert len({item.sentence for item in claims}) == 3


@pytest.mark.parametrize(
    ("text", "declines"),
    [
        (None, True), ("", True), (" \n", True), ("Unable to assess.", True), ("Non-diagnostic study.", True),
        ("The image cannot be interpreted.", True), ("Non-diagnostic, pneumonia cannot be excluded.", True),
        ("Lung bases cannot be assessed. Small effusion.", False), ("No effusion.", False), ("Stable.", False),
    ],
)  # fmt: skip
def test_a_report_that_says_nothing_or_declines_abstains(text: str | None, declines: bool) -> None:
    assert abstains(text) is declines


@settings(max_examples=150, deadline=None)
@given(
    st.text(max_size=200) | st.lists(st.sampled_from([*HELD_OUT, "\n", "İ", "ß", "<b>", ";", ", and"])).map(" ".join)
)
def test_any_text_is_read_and_spans_stay_inside(text: str) -> None:
    for claim in extract_claims(text):
        assert 0 <= claim.start < claim.end <= len(text) and claim.finding in known_findings()
        assert text[claim.start : claim.end].strip() == text[claim.start : claim.end] != ""
    assert extract_claims(text) == extract_claims(text)
