"""Word lists of general English: the closed classes, common verbs, measures. Nothing of any field is in them."""

from __future__ import annotations


def word_set(text: str) -> frozenset[str]:
    """The words of `text`."""
    return frozenset(text.split())


def _listed(text: str) -> list[str]:
    return text.split()


DETERMINERS = word_set(
    "the a an this these those its their our his her my your each every some any no both all another either "
    "neither such various several many few most more fewer less own same other certain"
)
PREPOSITIONS = word_set(
    "of in on at by with from for into onto over under between among amongst through during before after "
    "without within against upon per via than as about above below across along around behind beneath beside "
    "besides beyond despite down except inside like near off out outside past throughout toward towards up "
    "versus including following until till concerning regarding around aboard amid minus plus"
) - {"minus", "plus"}
CONJUNCTIONS = word_set(
    "and or but nor yet so because although though while whereas if unless when whenever where once since "
    "whether provided lest therefore however hence thus"
)
RELATIVES = word_set("which who whom whose what how why")
PRONOUNS = word_set(
    "it they he she we i you them him us me himself herself itself themselves ourselves nothing something "
    "everything anything nobody somebody everybody anyone someone everyone none one ones there here this"
) - {"this"}
ADVERBS = word_set(
    "not also only very too quite rather almost nearly just even still already again often never always "
    "sometimes usually now soon later ever well far much enough instead indeed perhaps maybe together apart "
    "away back forth thereafter afterwards afterward moreover furthermore thereby meanwhile otherwise "
    "nevertheless nonetheless then respectively twice thrice alone else abroad altogether somewhat "
    "approximately about ago further"
) - {"about"}
AUXILIARIES = word_set(
    "is are was were be been being am has have had having do does did can could may might must shall should "
    "will would cannot isn't aren't wasn't weren't don't doesn't didn't can't couldn't won't wouldn't"
)
SIGNS = frozenset({"minus", "plus", "±", "~", "−", "<", ">", "≤", "≥"})
NUMBER_WORDS = {
    word: value
    for value, names in {
        0: "zero",
        1: "one",
        2: "two",
        3: "three",
        4: "four",
        5: "five",
        6: "six",
        7: "seven",
        8: "eight",
        9: "nine",
        10: "ten",
        11: "eleven",
        12: "twelve dozen",
        13: "thirteen",
        14: "fourteen fortnight",
        15: "fifteen",
        16: "sixteen",
        17: "seventeen",
        18: "eighteen",
        19: "nineteen",
        20: "twenty",
        30: "thirty",
        40: "forty",
        50: "fifty",
        60: "sixty",
        70: "seventy",
        80: "eighty",
        90: "ninety",
        100: "hundred",
        1000: "thousand",
        1_000_000: "million",
    }.items()
    for word in names.split()
    if word not in ("dozen", "fortnight")
}

VERBS = tuple(
    dict.fromkeys(
        _listed(
            "abolish absorb accelerate accept accompany account accumulate achieve acquire act activate adapt add "
            "address adhere adjust administer adopt adsorb advance affect afford age agree aid aim allow alter "
            "amount amplify analyse analyze anchor anneal answer appear apply approach argue arise arrive ask "
            "assay assemble assess assign assist associate assume attach attack attain attempt attract attribute "
            "average avoid bake balance base bear become begin behave believe belong bend benefit bind blend "
            "block blow boil bond boost break bring build burn buy bypass calculate call carry catalyse catalyze "
            "catch cause challenge change characterise characterize charge check choose circulate claim classify "
            "clean clear cling clog close coagulate coat collapse collect combine come compare compete complete "
            "comply comprise compute concentrate conclude conduct confer confirm connect consider consist "
            "constitute construct consume contain continue contract contribute control convert convey cool "
            "coordinate correct correlate correspond cost count couple cover create cross crystallise crystallize "
            "cure cut damage dampen deactivate deal decide decline decompose decorate decrease defend define "
            "degrade delay deliver demand demonstrate depend deplete deposit derive describe design destroy "
            "detach detect determine develop differ differentiate diffuse dilute diminish direct disappear "
            "discover discuss disperse display disrupt dissolve dissociate distinguish distribute divide dominate "
            "double draw drink drive drop dry earn ease elicit eliminate elute emerge emit employ enable "
            "encapsulate encode encounter end endure engage engineer enhance enrich ensure enter equal equip "
            "escape establish estimate evaluate evaporate evolve examine exceed exchange excite exclude exert "
            "exhibit exist expand expect experience explain exploit explore expose express extend extract face "
            "facilitate fail fall favour favor feed feel fill filter find finish fire fit fix flow flush focus "
            "fold follow force form formulate foster freeze function fuse gain gather generate get give glow "
            "govern grant grow guarantee guard guide handle hang happen harbour harden harm harvest heal hear "
            "heat help hinder hit hold host hydrolyse hydrolyze identify ignite illustrate image immobilise "
            "impair impart implement imply import impose improve include incorporate increase incubate indicate "
            "induce infect infer influence inform inhibit initiate inject insert inspect install integrate intend "
            "interact interfere introduce invade investigate invite involve isolate join judge keep kill know "
            "lack land last launch lay lead leak learn leave lend lengthen let liberate lie lift light like limit "
            "line link list live load locate lock log look lose lower maintain make manage manufacture mark match "
            "matter mature mean measure mediate meet melt mention merge migrate mill mimic mix mobilise model "
            "moderate modify modulate monitor mount move multiply name need neutralise neutralize note notice "
            "number observe obtain occupy occur offer open operate optimise optimize order organise originate "
            "outline outperform overcome owe own oxidise oxidize pack pair participate pass pay peak peel "
            "penetrate perform permit persist pick place plan play point poison polarise polymerise polymerize "
            "possess postpone pour power precede precipitate predict prefer prepare prescribe present preserve "
            "press prevent prime probe proceed process produce progress prohibit prolong promote prompt propose "
            "protect prove provide pull pump purge purify pursue push put quantify quench raise range rank reach "
            "react read realise recall receive recognise recognize recommend record recover recruit recycle "
            "reduce refer refine reflect refresh regain regard regenerate regulate reject relate relax release "
            "rely remain remember remove render renew repair repeat repel replace report represent reproduce "
            "require resemble reside resist resolve respond rest restore restrict result retain retire return "
            "reveal reverse review revive rinse rise roll rotate run sample satisfy save say scale scan scatter "
            "schedule score screen seal search secrete secure see seek seem select sell send sense separate serve "
            "set settle shake shape share shift ship shorten show shrink shut signal silence simplify simulate "
            "sink sit slide slow soak soften solve sort speed spend split spoil spread stabilise stabilize stain "
            "stand start starve stay stem sterilise sterilize stick stimulate stir stop store strengthen stretch "
            "strike strip study submit suffer suggest suit summarise summarize supply support suppress surround "
            "survive suspend sustain swallow swell switch synthesise synthesize take target teach tell tend "
            "terminate test thaw think tolerate touch trace track train transfer transform transmit transport "
            "trap travel treat trigger try tune turn undergo understand unite use utilise utilize validate vanish "
            "vary verify visit wait wake want warm warrant wash watch weaken wear weigh wet widen win withdraw "
            "withstand work wrap write yield"
        )
    )
)
IRREGULAR_VERBS = {
    lemma: (past, participle)
    for lemma, past, participle in (
        line.split("/")
        for line in _listed(
            "arise/arose/arisen bear/bore/borne become/became/become begin/began/begun bend/bent/bent bind/bound/bound "
            "blow/blew/blown break/broke/broken bring/brought/brought build/built/built buy/bought/bought "
            "catch/caught/caught choose/chose/chosen cling/clung/clung come/came/come cost/cost/cost cut/cut/cut "
            "deal/dealt/dealt draw/drew/drawn drink/drank/drunk drive/drove/driven fall/fell/fallen feed/fed/fed "
            "feel/felt/felt find/found/found freeze/froze/frozen get/got/got give/gave/given grow/grew/grown "
            "hang/hung/hung hear/heard/heard hit/hit/hit hold/held/held keep/kept/kept know/knew/known lay/laid/laid "
            "lead/led/led leave/left/left lend/lent/lent let/let/let lie/lay/lain lose/lost/lost make/made/made "
            "mean/meant/meant meet/met/met overcome/overcame/overcome pay/paid/paid prove/proved/proven put/put/put "
            "read/read/read rise/rose/risen run/ran/run say/said/said see/saw/seen seek/sought/sought sell/sold/sold "
            "send/sent/sent set/set/set shake/shook/shaken show/showed/shown shrink/shrank/shrunk shut/shut/shut "
            "sink/sank/sunk sit/sat/sat slide/slid/slid spend/spent/spent split/split/split spread/spread/spread "
            "stand/stood/stood stick/stuck/stuck strike/struck/struck swell/swelled/swollen take/took/taken "
            "teach/taught/taught tell/told/told think/thought/thought undergo/underwent/undergone "
            "understand/understood/understood wake/woke/woken wear/wore/worn win/won/won withdraw/withdrew/withdrawn "
            "withstand/withstood/withstood write/wrote/written"
        )
    )
}

MEASURES = word_set(
    "size diameter length width height depth thickness area volume mass weight dose dosage amount quantity "
    "concentration temperature pressure potential charge voltage current yield efficiency efficacy rate "
    "frequency speed velocity time duration life lifetime age half-life ratio share proportion percentage "
    "fraction density viscosity energy power force strength hardness purity solubility ph number count level "
    "titre titer radius distance range period capacity resistance conductivity cost price score value accuracy "
    "precision recall sensitivity specificity mean median average prevalence incidence risk coefficient content "
    "gain loss limit threshold point wavelength intensity output input flow load stability selectivity "
    "conversion activity durability turnover throughput margin error deviation variance interval maximum "
    "minimum total sum recovery survival mortality response probability likelihood longevity service"
)
"""Nouns that have a value."""

PLURAL_MEASURE = {
    "length": "size",
    "time": "duration",
    "temperature": "temperature",
    "mass": "mass",
    "share": "percentage",
    "potential": "potential",
    "energy": "energy",
    "area": "area",
    "volume": "volume",
    "pressure": "pressure",
    "frequency": "rate",
    "concentration": "concentration",
    "dose": "dose",
    "count": "number",
}
"""The noun to ask with for a quantity of a dimension."""

STOP_WORDS = frozenset(
    DETERMINERS
    | PREPOSITIONS
    | CONJUNCTIONS
    | RELATIVES
    | PRONOUNS
    | ADVERBS
    | AUXILIARIES
    | {"to", "that", "this", "which", "what", "and"}
)
