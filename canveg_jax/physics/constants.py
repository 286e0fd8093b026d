"""Physical constants of the model, SI unless said otherwise, with the values of the published model [Jiang2025]."""

STEFAN_BOLTZMANN = 5.670367e-8
"""W m-2 K-4"""
GAS_CONSTANT = 8.314
"""J mol-1 K-1"""
AIR_MOLAR_MASS = 28.97
"""g mol-1"""
AIR_SPECIFIC_HEAT = 1005.0
"""J kg-1 K-1, constant pressure"""
VON_KARMAN = 0.4
GRAVITY = 9.8
"""m s-2"""
ZERO_CELSIUS = 273.15
"""K"""
PAR_PER_JOULE = 4.6
"""umol of photons per joule of PAR"""
PAR_SHARE = 0.5
"""Share of global radiation that is PAR"""
VAPOUR_MASS_RATIO = 0.622
"""Molar mass of water over that of air"""
SOLAR_CONSTANT = 1360.8
"""W m-2 [Kopp2011]"""
